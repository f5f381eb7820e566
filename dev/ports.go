package dev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"weft/internal/kind"
)

// ports are the three listeners of a Dev.
type ports struct {
	Control   uint16 `json:"control"`
	WireGuard uint16 `json:"wireguard"`
	Connector uint16 `json:"connector"`
}

// ports decides for each listener: the one asked for (which must be free), else last time's when it is free, else a free one.
func (d *Dev) ports() (ports, error) {
	var last ports
	if in, err := readInstance(d.cfg.Dir); err == nil {
		last = in.Ports
	} else if !errors.Is(err, os.ErrNotExist) {
		return ports{}, err
	}
	var (
		p   ports
		err error
	)
	if p.Control, err = choose("--control-port", "tcp", d.cfg.Listen, d.cfg.ControlPort, last.Control); err != nil {
		return ports{}, err
	}
	if p.WireGuard, err = choose("--wireguard-port", "udp", d.cfg.Listen, d.cfg.WireGuardPort, last.WireGuard); err != nil {
		return ports{}, err
	}
	p.Connector, err = choose("--connector-port", "udp", d.cfg.Listen, d.cfg.ConnectorPort, last.Connector, p.WireGuard)
	return p, err
}

// choose returns a port that was free a moment ago; the listener that follows has the last word.
func choose(flag, network string, host netip.Addr, asked, last uint16, taken ...uint16) (uint16, error) {
	if asked != 0 {
		if _, err := try(network, host, asked); err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				return 0, kind.New(kind.Conflict, "%s port %d on %s is in use", network, asked, host).
					WithHint("stop the program that holds it, or leave %s out to get a free port", flag)
			}
			return 0, fmt.Errorf("listen on %s port %d: %w", network, asked, err)
		}
		return asked, nil
	}
	if last != 0 {
		if p, err := try(network, host, last); err == nil {
			return p, nil
		}
	}
	// A free port can be the one chosen for another listener a moment ago: that one is closed again.
	for range 16 {
		p, err := try(network, host, 0)
		if err != nil {
			return 0, fmt.Errorf("find a free %s port on %s: %w", network, host, err)
		}
		if len(taken) == 0 || taken[0] != p {
			return p, nil
		}
	}
	return 0, fmt.Errorf("find a free %s port on %s: the system offers only taken ones", network, host)
}

// try binds and releases.
func try(network string, host netip.Addr, port uint16) (uint16, error) {
	ap := netip.AddrPortFrom(host, port)
	if network == "udp" {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(ap))
		if err != nil {
			return 0, err
		}
		p := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		return p, c.Close()
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap))
	if err != nil {
		return 0, err
	}
	p := l.Addr().(*net.TCPAddr).AddrPort().Port()
	return p, l.Close()
}

// advertised is what others can use for listen.
func advertised(listen netip.Addr) (string, error) {
	if !listen.IsUnspecified() {
		return listen.String(), nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("list the addresses of this host: %w", err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().IsGlobalUnicast() && (p.Addr().Is4() || !listen.Is4()) {
			return p.Addr().String(), nil
		}
	}
	return "", kind.New(kind.Invalid, "listening on %s, but this host has no address that others could use", listen).
		WithHint("say which with --advertise")
}
