package server

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/origin"
	"weft/agent/relay"
	"weft/internal/kind"
)

// upgraded is the answer that ends HTTP on a dial's connection (RFC 9110 section 7.8).
const upgraded = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + localapi.UpgradeProtocol + "\r\n\r\n"

// dial opens a flow and turns the connection into its byte stream. Everything that
// fails before the 101 is an ordinary answer.
func (s *Server) dial(w http.ResponseWriter, r *http.Request) error {
	if !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", localapi.UpgradeProtocol) {
		return fault.New(string(kind.Invalid), "a dial needs Connection: Upgrade and Upgrade: %s", localapi.UpgradeProtocol)
	}
	var in localapi.Dial
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	if in.Name == "" || in.Port == 0 {
		return fault.New(string(kind.Invalid), "a dial needs a name and a port")
	}
	user := userOf(r)
	if !s.dials.take(user) {
		s.overDials.Add(1)
		return fault.New(string(kind.Limit), "too many connections are being opened").WithHint("try again in a moment")
	}
	from := origin.Origin{Entrance: origin.Dial}
	if id, err := callerOf(r); err == nil {
		from.PID = id.PID
	}
	ctx, cancel := context.WithTimeout(origin.With(r.Context(), from), s.cfg.DialTimeout)
	flow, err := s.agent(r).DialFlow(ctx, in)
	cancel()
	s.dials.give(user)
	if err != nil {
		return err
	}
	return s.upgrade(w, r, flow)
}

// upgrade owns flow.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, flow relay.Flow) error {
	// The context of a hijacked request is cancelled when the handler returns and
	// not by the caller's going away, which the relay sees itself.
	ctx := r.Context()
	s.relays.Add(1)
	defer s.relays.Done()
	nc, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		flow.Abort()
		return err
	}
	defer func() { _ = nc.Close() }() // gives the connection's place back; the relay closed it
	client, ok := relayClient(nc)
	if !ok || nc.SetDeadline(time.Time{}) != nil {
		flow.Abort()
		return nil
	}
	var first []byte
	if n := buf.Reader.Buffered(); n > 0 {
		b, _ := buf.Peek(n) // what is buffered can always be peeked
		first = append(first, b...)
	}
	if _, err := client.Write([]byte(upgraded)); err != nil {
		flow.Abort()
		return nil //nolint:nilerr // the caller has gone; there is nobody to tell
	}
	res := relay.Run(ctx, client, flow, first)
	s.log.DebugContext(ctx, "dial stream ended", "dst", flow.RemoteAddr(), "sent", res.Sent, "received", res.Received, "error", res.Err)
	return nil
}

func relayClient(nc net.Conn) (relay.Client, bool) {
	if c, ok := nc.(*countedConn); ok {
		return c.client()
	}
	c, ok := nc.(relay.Client)
	return c, ok
}

// wantsNoRows reads ?targets=none: who asks for the list with a filter needs to know only that it changed.
func wantsNoRows(r *http.Request) (bool, error) {
	switch v := r.URL.Query()["targets"]; {
	case len(v) == 0:
		return false, nil
	case len(v) == 1 && v[0] == "none":
		return true, nil
	}
	return false, fault.New(string(kind.Invalid), "targets must be none, or not be given")
}

// events writes the snapshot, then the changes, until the caller goes or is too slow.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	rowless, err := wantsNoRows(r)
	if err != nil {
		return err
	}
	user := userOf(r)
	if !s.streams.take(user) {
		s.overStreams.Add(1)
		return fault.New(string(kind.Limit), "too many event streams are open").WithHint("end other programs that follow the agent's status")
	}
	defer s.streams.give(user)
	sub, err := s.agent(r).Subscribe()
	if err != nil {
		return err
	}
	defer sub.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	for {
		for _, ev := range sub.Take() {
			if rowless && ev.Targets != nil {
				l := *ev.Targets // its rows are shared
				l.Targets = []localapi.Target{}
				ev.Targets = &l
			}
			// A reader that takes nothing for this long is ended, so that it holds nothing here.
			if err := rc.SetWriteDeadline(time.Now().Add(s.cfg.BodyTimeout)); err != nil {
				return nil //nolint:nilerr // the connection is closed
			}
			if err := errors.Join(enc.Encode(ev), rc.Flush()); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					s.slowReaders.Add(1)
				}
				return nil
			}
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-sub.Ready():
		}
	}
}

// userOf names the account for quotas; run has checked that it is known.
func userOf(r *http.Request) string {
	id, err := callerOf(r)
	if err != nil {
		return "unknown"
	}
	return id.String()
}

// hasToken looks for a token in a list header, without regard to case.
func hasToken(h http.Header, key, token string) bool {
	for _, v := range h.Values(key) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
