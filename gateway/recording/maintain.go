package recording

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// Times of maintenance.
const (
	retryFirst    = time.Second
	retryMost     = 5 * time.Minute
	maintainEvery = time.Minute
	storeTimeout  = 15 * time.Minute // for one file
)

// maintain seals and uploads: at once, whenever a recording ends, and now and then.
func (r *Recorder) maintain(ctx context.Context) error {
	wait := time.NewTimer(0)
	defer wait.Stop()
	backoff := retryFirst
	var grown time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-wait.C:
		}
		next := maintainEvery
		err := errors.Join(r.seal(ctx), r.upload(ctx))
		if r.cfg.Sink != nil && r.cfg.UploadGrowing > 0 {
			if err == nil && time.Since(grown) >= r.cfg.UploadGrowing {
				err = r.uploadGrowing(ctx)
				grown = time.Now()
			}
			next = min(next, r.cfg.UploadGrowing)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.log.ErrorContext(ctx, "recordings not stored; trying again", slog.Any("error", err), slog.Duration("retry_in", backoff))
			next = backoff + rand.N(backoff/4+1)
			backoff = min(2*backoff, retryMost)
			// What ends meanwhile does not make a dead bucket answer sooner.
			if !sleep(ctx, next) {
				return nil
			}
			next = 0
		default:
			backoff = retryFirst
		}
		wait.Reset(next)
	}
}

// sleep returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// seal finishes what a crash or a failure left. It looks at the whole directory, so it does so only when there is a reason.
func (r *Recorder) seal(ctx context.Context) error {
	if !r.unsealed.Swap(false) {
		return nil
	}
	names, err := Dir(r.cfg.Dir).Names(ctx)
	if err != nil {
		r.unsealed.Store(true)
		return err
	}
	var errs []error
	for _, n := range names {
		name, part := strings.CutSuffix(n, PartSuffix)
		if !part || r.isLive(name) || ctx.Err() != nil {
			continue
		}
		sum, err := r.sealFile(ctx, name)
		if errors.Is(err, errNotOurs) {
			r.log.WarnContext(ctx, "unfinished recording left as it is", slog.String("recording", name), slog.Any("error", err))
			continue
		}
		if err != nil {
			r.unsealed.Store(true)
			errs = append(errs, fmt.Errorf("seal recording %s: %w", name, err))
			continue
		}
		r.stats.sealed.Add(1)
		r.log.WarnContext(ctx, "recording of an interrupted session sealed", slog.String("recording", name),
			slog.String("head", sum.Head), slog.Int64("discarded_bytes", sum.End.Discarded))
	}
	return errors.Join(errs...)
}

// upload brings finished recordings to the Sink and then removes them here.
func (r *Recorder) upload(ctx context.Context) error {
	if r.cfg.Sink == nil {
		return nil
	}
	names, err := Dir(r.cfg.Dir).Names(ctx)
	if err != nil {
		return err
	}
	var spooled int64
	var errs []error
	for _, name := range names {
		if strings.HasSuffix(name, PartSuffix) || ctx.Err() != nil {
			continue
		}
		size, err := r.uploadFile(ctx, name, name)
		if err != nil {
			r.stats.retried.Add(1)
			spooled += size
			errs = append(errs, err)
			continue
		}
		r.stats.uploaded.Add(1)
		if err := os.Remove(r.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if r.cfg.UploadGrowing > 0 {
			errs = append(errs, r.cfg.Sink.Delete(ctx, name+PartSuffix))
		}
	}
	r.spooled.Store(spooled)
	return errors.Join(errs...)
}

// uploadFile stores a file under a name, and returns its size.
func (r *Recorder) uploadFile(ctx context.Context, file, name string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	f, err := os.Open(r.path(file))
	if err != nil {
		return 0, fmt.Errorf("upload recording: %w", err)
	}
	st, err := f.Stat()
	if err == nil {
		err = r.cfg.Sink.Store(ctx, name, f, st.Size())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		size := int64(0)
		if st != nil {
			size = st.Size()
		}
		return size, fmt.Errorf("upload recording %s: %w", name, err)
	}
	return st.Size(), nil
}

// uploadGrowing stores what there is of live recordings.
func (r *Recorder) uploadGrowing(ctx context.Context) error {
	r.mu.Lock()
	names := make([]string, 0, len(r.live))
	for n := range r.live {
		names = append(names, n)
	}
	r.mu.Unlock()
	var errs []error
	for _, n := range names {
		_, err := r.uploadFile(ctx, n+PartSuffix, n+PartSuffix)
		if errors.Is(err, fs.ErrNotExist) { // it has ended meanwhile
			err = nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
