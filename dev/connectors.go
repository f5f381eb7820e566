package dev

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/sync/errgroup"

	"weft/api"
	"weft/connector"
	"weft/internal/kind"
)

// Connector is one to run in the Dev's own process.
type Connector struct {
	// Tunnel is the name of its tunnel, which is created when there is none.
	Tunnel string
	// Map says where connections to an address go instead.
	Map map[netip.AddrPort]netip.AddrPort
}

// ParseMap reads "ADDRESS:PORT=ADDRESS:PORT" pairs, as weft's --map takes them.
func ParseMap(pairs []string) (map[netip.AddrPort]netip.AddrPort, error) {
	m := make(map[netip.AddrPort]netip.AddrPort, len(pairs))
	for _, s := range pairs {
		from, to, ok := strings.Cut(s, "=")
		a, errA := netip.ParseAddrPort(from)
		b, errB := netip.ParseAddrPort(to)
		if !ok || errA != nil || errB != nil {
			return nil, kind.New(kind.Invalid, "mapping %q is not ADDRESS:PORT=ADDRESS:PORT", s)
		}
		if _, twice := m[a]; twice {
			return nil, kind.New(kind.Invalid, "%s is mapped twice", a)
		}
		m[a] = b
	}
	return m, nil
}

// startConnectors returns once every connector is attached to the gateway.
func (d *Dev) startConnectors(ctx context.Context, g *errgroup.Group, in instance) error {
	for _, spec := range d.cfg.Connectors {
		token, err := in.tunnelToken(ctx, spec.Tunnel)
		if err != nil {
			return fmt.Errorf("tunnel %q: %w", spec.Tunnel, err)
		}
		parsed, err := api.ParseConnectorToken(token)
		if err != nil {
			return fmt.Errorf("tunnel %q: %w", spec.Tunnel, err)
		}
		logger := d.cfg.Logger.With("part", "connector", "tunnel", spec.Tunnel)
		client, err := in.client(token, logger)
		if err != nil {
			return err
		}
		c, err := connector.New(connector.Config{Token: parsed, Control: client, Map: spec.Map, Logger: logger})
		if err != nil {
			return fmt.Errorf("set up the connector of %q: %w", spec.Tunnel, err)
		}
		g.Go(func() error { return named("connector of "+spec.Tunnel, c.Run(ctx)) })
		if err := wait(ctx, c.Ready()); err != nil {
			return err
		}
	}
	return nil
}

// tunnelToken finds or creates the tunnel by its name and returns its token.
func (in instance) tunnelToken(ctx context.Context, name string) (string, error) {
	c, err := in.client(in.token, nil)
	if err != nil {
		return "", err
	}
	defer c.Close()
	type tunnel struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	base := api.PathManagement + "/accounts/" + in.AccountID + "/cfd_tunnel"
	var found []tunnel
	if err := c.Do(ctx, http.MethodGet, base+"?is_deleted=false&name="+url.QueryEscape(name), nil, &found); err != nil {
		return "", fmt.Errorf("look for it: %w", err)
	}
	var t tunnel
	for _, f := range found {
		if f.Name == name {
			t = f
		}
	}
	if t.ID == "" {
		secret := make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return "", fmt.Errorf("make a secret: %w", err)
		}
		body := map[string]string{"name": name, "tunnel_secret": base64.StdEncoding.EncodeToString(secret)}
		if err := c.Do(ctx, http.MethodPost, base, body, &t); err != nil {
			return "", fmt.Errorf("create it: %w", err)
		}
	}
	var token string
	if err := c.Do(ctx, http.MethodGet, base+"/"+url.PathEscape(t.ID)+"/token", nil, &token); err != nil {
		return "", fmt.Errorf("get its token: %w", err)
	}
	return token, nil
}
