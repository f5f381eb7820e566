package tunnel

import (
	"net/netip"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/conn"
)

// newBind is the UDP side of a tunnel.
func newBind(netip.AddrPort) conn.Bind { return conn.NewStdNetBind() }

// portBind remembers the port that its Bind was opened on.
type portBind struct {
	conn.Bind
	opened atomic.Uint32
}

func (b *portBind) port() uint16 { return uint16(b.opened.Load()) }

// Open implements conn.Bind.
func (b *portBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	fns, actual, err := b.Bind.Open(port)
	if err == nil {
		b.opened.Store(uint32(actual))
	}
	return fns, actual, err
}
