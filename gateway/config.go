// Package gateway is where tunnels end: WireGuard, then a netstack that accepts every destination, then one
// decision per flow, then a connector that opens the connection inside the private network.
//
// A flow goes through these steps, each of which may refuse it:
//
//  1. enforce: the source address names device and VNET, policy decides, a route leads to a tunnel.
//  2. sessions: the limits of the device and of the gateway.
//  3. audit: the line that says so is written. No line, no flow.
//  4. connectors: a connector dials. Only when the target has answered is the client's handshake completed, so
//     that refused looks refused and dark looks dark.
//  5. The bytes are relayed; SSH is terminated (package sshproxy), which asks for a decision per UNIX user.
//
// Every new state from control re-evaluates every live flow. Without contact to control for longer than the
// state allows, no new flow is opened; live ones go on.
package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"weft/api"
	"weft/gateway/connectors"
	"weft/gateway/sessions"
	"weft/tunnel"
)

// Config of a Gateway.
type Config struct {
	// StateDir keeps keys, the last state and pins. It is created with mode 0700.
	StateDir string
	// Control is authenticated by the gateway token.
	Control *api.Client
	// Listen is the UDP address of WireGuard, ConnectorListen that of QUIC; port 0 means any.
	Listen          netip.AddrPort
	ConnectorListen netip.AddrPort
	// AdvertiseHosts are the host names or addresses that agents and connectors are told. None means the listen
	// address; if that is unspecified, the global addresses of this host, or else its loopback address.
	AdvertiseHosts []string
	// AuditFile is a path, or "-" for standard output; "" means audit.jsonl in StateDir.
	AuditFile string
	// Recording says whether SSH sessions are recorded, and how.
	Recording Recording
	// DrainTimeout is how long RunUntil waits for live sessions; 0: it does not.
	DrainTimeout time.Duration
	// Version of the software, for the report.
	Version string
	Limits  Limits
	Logger  *slog.Logger
}

// Limits bound what peers and connectors can drive; zero fields mean the defaults of their packages.
type Limits struct {
	Tunnel     tunnel.Limits
	Sessions   sessions.Limits
	Connectors connectors.Limits
	// MaxProbesPerDevice bounds the liveness probe flows of a device, of which the newest stay; 0 means 8.
	MaxProbesPerDevice int
	// MaxPinnedHostKeys bounds the host keys remembered; 0 means 65536.
	MaxPinnedHostKeys int
}

func (c *Config) validate() error {
	switch {
	case c.StateDir == "":
		return errors.New("gateway: no state directory")
	case c.Control == nil:
		return errors.New("gateway: no control client")
	}
	for _, h := range c.AdvertiseHosts {
		if h == "" {
			return errors.New("gateway: an advertised host is empty")
		}
	}
	if !c.Listen.Addr().IsValid() {
		c.Listen = netip.AddrPortFrom(netip.IPv6Unspecified(), c.Listen.Port())
	}
	if !c.ConnectorListen.Addr().IsValid() {
		c.ConnectorListen = netip.AddrPortFrom(netip.IPv6Unspecified(), c.ConnectorListen.Port())
	}
	if c.Listen == c.ConnectorListen && c.Listen.Port() != 0 {
		return fmt.Errorf("gateway: WireGuard and connectors cannot both listen on %v", c.Listen)
	}
	if c.AuditFile == "" {
		c.AuditFile = filepath.Join(c.StateDir, "audit.jsonl")
	}
	if err := c.Recording.validate(c.StateDir); err != nil {
		return err
	}
	if c.Limits.MaxProbesPerDevice <= 0 {
		c.Limits.MaxProbesPerDevice = 8
	}
	if c.Limits.MaxPinnedHostKeys <= 0 {
		c.Limits.MaxPinnedHostKeys = 65536
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
