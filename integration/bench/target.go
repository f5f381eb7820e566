package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// What a client asks of the target by its first byte.
const (
	askDown = 'd' // endless bytes
	askUp   = 'u' // takes bytes and counts them
	askEcho = 'e' // sends back what comes
	askByte = 'b' // one byte, and the end
)

// target plays the machine behind the connector.
type target struct {
	l        net.Listener
	received atomic.Int64
	wg       sync.WaitGroup
}

func newTarget() (*target, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	t := &target{l: l}
	t.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go t.serve(c) // ends with the connection, at the latest when the programs under test end
		}
	})
	return t, nil
}

func (t *target) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	ask := make([]byte, 1)
	if _, err := io.ReadFull(c, ask); err != nil {
		return
	}
	buf := make([]byte, 256<<10)
	var err error
	for err == nil {
		n := 0
		switch ask[0] {
		case askDown:
			_, err = c.Write(buf)
		case askUp:
			n, err = c.Read(buf)
			t.received.Add(int64(n))
		case askEcho:
			if n, err = c.Read(buf); err == nil {
				_, err = c.Write(buf[:n])
			}
		default:
			_, _ = c.Write(ask) // the client counts
			return
		}
	}
}

func (t *target) close() error {
	err := t.l.Close()
	t.wg.Wait()
	return err
}
