package control

import (
	"context"
	"net/url"
	"time"

	"weft/control/store"
)

// How often is looked for what time alone changes.
const (
	expiryInterval = time.Second
	trimInterval   = 10 * time.Minute
)

// keepHouse suspends what has expired and trims the access log until ctx ends.
func (c *Control) keepHouse(ctx context.Context) {
	expiry, trim := time.NewTicker(expiryInterval), time.NewTicker(trimInterval)
	defer expiry.Stop()
	defer trim.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-expiry.C:
			err = c.expireServiceTokens(ctx)
		case <-trim.C:
			err = c.store.Update(ctx, store.System, func(tx *store.Tx) error {
				_, err := tx.TrimAccessEvents(ctx)
				return err
			})
		}
		if err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "keep house", "error", err)
		}
	}
}

// expireServiceTokens takes from the devices of expired tokens what the tokens allowed. It writes only when there is one.
func (c *Control) expireServiceTokens(ctx context.Context) error {
	var expired []string
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		expired, err = r.ExpiredServiceTokens(ctx)
		return err
	})
	if err != nil || len(expired) == 0 {
		return err
	}
	return c.store.Update(ctx, store.System, func(tx *store.Tx) error { return tx.SettleServiceTokens(ctx, expired) })
}

// defaultAuthDomain is the control plane's own host.
func (c *Control) defaultAuthDomain() string {
	u, err := url.Parse(c.publicURL)
	if err != nil || u.Hostname() == "" {
		return "localhost"
	}
	return u.Hostname()
}
