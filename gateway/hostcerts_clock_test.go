package gateway_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/gateway"
)

// A day and more of a gateway's life: certificates of 24 hours are renewed when half of their time is over; while control
// is away the old one is shown to its end and not longer; when control is back there is one within five minutes.
func TestHostCerts_Clock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newHostCA(t)
		away := errors.New("away")
		var failing atomic.Bool
		var asked atomic.Int32
		h := gateway.NewHostCertsForTest(t.TempDir(), newSigner(t), func(_ context.Context, key ssh.PublicKey) (*ssh.Certificate, error) {
			asked.Add(1)
			if failing.Load() {
				return nil, away
			}
			return ca.certify(key)
		}, testLogger(t))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		at := func(d time.Duration, wantShown, wantAsked int) {
			t.Helper()
			<-time.After(d) // the time of the bubble
			synctest.Wait()
			if got := h.Shown(); got != wantShown {
				t.Errorf("%d certificates are shown, want %d", got, wantShown)
			}
			if wantAsked >= 0 && int(asked.Load()) != wantAsked {
				t.Errorf("asked %d times, want %d", asked.Load(), wantAsked)
			}
		}
		at(0, 1, 1)
		at(11*time.Hour, 1, 1)
		at(2*time.Hour, 1, 2)
		failing.Store(true)
		at(22*time.Hour, 1, -1)
		if n := asked.Load(); n < 100 || n > 200 {
			t.Errorf("asked %d times while control was away", n)
		}
		at(2*time.Hour, 0, -1)
		failing.Store(false)
		at(5*time.Minute, 1, -1)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
}
