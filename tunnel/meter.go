package tunnel

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgdevice "golang.zx2c4.com/wireguard/device"
)

// meteredBind is the transport that a device gets: it remembers the port,
// tells the gate what left, and the inbound queue what came.
type meteredBind struct {
	conn.Bind
	gate    *gate
	inbound *inbound
	opened  atomic.Uint32

	sent, received atomic.Uint64 // messages that carry a packet
}

func (b *meteredBind) port() uint16 { return uint16(b.opened.Load()) }

// Open implements conn.Bind.
func (b *meteredBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	fns, actual, err := b.Bind.Open(port)
	if err != nil {
		return nil, 0, err
	}
	b.opened.Store(uint32(actual))
	for i, receive := range fns {
		fns[i] = func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
			n, err := receive(bufs, sizes, eps)
			now, packets := time.Now(), 0
			for i := range n {
				if carriesPacket(bufs[i][:sizes[i]]) {
					stamp(bufs[i], sizes[i], now)
					packets++
				}
			}
			if packets > 0 {
				b.received.Add(uint64(packets))
				b.inbound.arrived(packets, now)
			}
			return n, err
		}
	}
	return fns, actual, nil
}

// Send implements conn.Bind.
func (b *meteredBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	err := b.Bind.Send(bufs, ep)
	packets := 0
	for _, m := range bufs {
		if carriesPacket(m) {
			packets++
		}
	}
	if packets > 0 {
		b.sent.Add(uint64(packets))
		b.gate.leave(packets)
	}
	return err
}

// carriesPacket tells data from handshakes and keep-alives.
func carriesPacket(m []byte) bool {
	return len(m) > wgdevice.MessageKeepaliveSize && binary.LittleEndian.Uint32(m) == wgdevice.MessageTransportType
}
