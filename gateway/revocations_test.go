package gateway_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"weft/api"
	"weft/gateway"
)

// The queue never holds up a session: what does not fit is counted, what has expired meanwhile is not asked for.
func TestRevocations_AreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gateway.NewRevocationsForTest()
		soon := time.Now().Add(time.Minute)
		for i := range gateway.MaxRevocationsForTest + 3 {
			r.Add(uint64(i+1), soon)
		}
		if _, dropped := r.Counts(); dropped != 3 {
			t.Errorf("%d were dropped", dropped)
		}
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		done := make(chan error, 1)
		go func() {
			done <- r.Run(ctx, func(_ context.Context, in api.RevokeCertificates) error {
				if asked++; in.Serial == 2 {
					return errors.New("control is away")
				}
				return nil
			})
		}()
		synctest.Wait()
		if told, dropped := r.Counts(); told != gateway.MaxRevocationsForTest-1 || dropped != 4 {
			t.Errorf("%d were told of, %d dropped", told, dropped)
		}
		r.Add(9, time.Now().Add(-time.Second))
		synctest.Wait()
		if asked != gateway.MaxRevocationsForTest {
			t.Errorf("asked %d times", asked)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
