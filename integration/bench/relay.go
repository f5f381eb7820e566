package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
)

const relayEnv = "WEFT_BENCH_RELAY"

// relayMain is the bare SOCKS5 relay (RFC 1928, CONNECT to an IPv4 address, no authentication): it prints its address
// and serves until it is killed.
func relayMain() error {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	if _, err := fmt.Println(l.Addr()); err != nil {
		return err
	}
	to := os.Getenv(relayEnv)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go relay(c.(*net.TCPConn), to)
	}
}

// relay answers the greeting and the request, then copies. Whatever was asked for, it goes to one target: the relay stands in
// for a network that only the tunnel reaches.
func relay(c *net.TCPConn, to string) {
	defer func() { _ = c.Close() }()
	head := make([]byte, 3)
	request := make([]byte, 10)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return
	}
	if _, err := io.ReadFull(c, request); err != nil {
		return
	}
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return
	}
	up, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	answer := binary.BigEndian.AppendUint16([]byte{5, 0, 0, 1, 127, 0, 0, 1}, addr.Port())
	if _, err := c.Write(answer); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(c, up)
		_ = c.CloseWrite()
	}()
	_, _ = io.Copy(up, c)
	_ = up.CloseWrite()
	<-done
}
