package store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// What notifications begin with: a revision, or a part of a message.
const (
	revisionMark = "r "
	messageMark  = "m "
)

// A notification holds less than 8,000 bytes, so messages go in parts; those of one message are one transaction, whose
// notifications nothing comes between.
const (
	partBytes = 5 << 10
	maxParts  = 4 << 10
)

const (
	// defaultPoll bounds how late a change is heard of whose notification was lost; a revocation is to be in force within
	// a second or two even then.
	defaultPoll = time.Second
	// A listener that lost its connection comes back after a random part of this, which doubles.
	relistenFirst = 100 * time.Millisecond
	relistenMost  = 5 * time.Second
)

// Listener hears what other control planes on the account say. Its methods return soon.
type Listener interface {
	// Joined says that from now on everything is heard, and that anything may have been missed before.
	Joined()
	// Heard is one message, also of this process's own.
	Heard(message []byte)
}

// Shared reports whether other control planes can be on the same account.
func (s *Store) Shared() bool { return s.bus() != nil }

func (s *Store) bus() *postgresEngine {
	e, _ := s.engine.(*postgresEngine)
	return e
}

// Tell sends a message to all control planes that watch; it is lost to those that do not listen just now.
func (s *Store) Tell(ctx context.Context, message []byte) error {
	e := s.bus()
	if e == nil {
		return errors.ErrUnsupported
	}
	parts := (len(message) + partBytes - 1) / partBytes
	if parts == 0 || parts > maxParts {
		return fmt.Errorf("tell: a message of %d bytes", len(message))
	}
	tx, err := e.aside.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(fmt.Errorf("tell: %w", err))
	}
	defer func() { _ = tx.Rollback() }() // after a commit it has nothing to do
	for i := range parts {
		part := message[i*partBytes : min(len(message), (i+1)*partBytes)]
		text := messageMark + strconv.Itoa(i) + " " + strconv.Itoa(parts) + " " + base64.StdEncoding.EncodeToString(part)
		if _, err := tx.ExecContext(ctx, `SELECT pg_notify($1, $2)`, e.channel, text); err != nil {
			return s.explain(fmt.Errorf("tell: %w", err))
		}
	}
	return s.explain(tx.Commit())
}

// Watch makes Changed receive what other processes change, and listener hear what they say, until ctx ends. On SQLite
// nobody else says anything, and it returns at once.
func (s *Store) Watch(ctx context.Context, log *slog.Logger, listener Listener) {
	e := s.bus()
	if e == nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.poll(ctx, log) })
	wait := relistenFirst
	for ctx.Err() == nil {
		heard, err := s.listen(ctx, e, listener)
		if ctx.Err() != nil {
			break
		}
		log.WarnContext(ctx, "the connection on which the database tells of changes is lost", "error", err)
		if heard {
			wait = relistenFirst
		}
		_ = pause(ctx, time.Duration(rand.Int64N(int64(wait)))) // the loop looks at ctx
		wait = min(2*wait, relistenMost)
	}
	wg.Wait()
}

// poll looks at the revision now and then, for what no notification said.
func (s *Store) poll(ctx context.Context, log *slog.Logger) {
	var last uint64
	tick := time.NewTicker(s.pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var now uint64
		err := s.View(ctx, func(r *Reader) (err error) {
			now, err = r.Revision(ctx)
			return err
		})
		if err != nil {
			log.DebugContext(ctx, "look at the revision", "error", err)
			continue
		}
		if now != last {
			last = now
			s.wake()
		}
	}
}

// listen hears notifications on a connection of its own until that ends; heard says whether it came about.
func (s *Store) listen(ctx context.Context, e *postgresEngine, listener Listener) (heard bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, e.config.Copy())
	if err != nil {
		return false, err
	}
	defer func() {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closeCtx) // whatever it was, it is over
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{e.channel}.Sanitize()); err != nil {
		return false, err
	}
	s.wake()
	listener.Joined()
	var m partial
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return true, err
		}
		if strings.HasPrefix(n.Payload, revisionMark) {
			s.wake()
			continue
		}
		if text, ok := strings.CutPrefix(n.Payload, messageMark); ok {
			if whole := m.add(text); whole != nil {
				listener.Heard(whole)
			}
		}
	}
}

// partial is a message of which parts have come.
type partial struct {
	next, parts int
	text        []byte
}

// add takes a part and returns the message when it is whole. A part that does not follow is dropped, with what it does
// not follow.
func (p *partial) add(text string) []byte {
	fields := strings.SplitN(text, " ", 3)
	if len(fields) != 3 {
		return nil
	}
	i, err1 := strconv.Atoi(fields[0])
	parts, err2 := strconv.Atoi(fields[1])
	raw, err3 := base64.StdEncoding.DecodeString(fields[2])
	if err1 != nil || err2 != nil || err3 != nil || parts < 1 || parts > maxParts {
		*p = partial{}
		return nil
	}
	if i == 0 {
		*p = partial{parts: parts}
	}
	if i != p.next || parts != p.parts {
		*p = partial{}
		return nil
	}
	p.next++
	p.text = append(p.text, raw...)
	if p.next < parts {
		return nil
	}
	whole := p.text
	*p = partial{}
	return whole
}
