package tunnel

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// linkEndpoint is the NIC side of a device: packets that the netstack writes
// go to the device's queue. A gateway has one per IP version, a client one
// for both.
type linkEndpoint struct {
	mtu   uint32
	queue *fairQueue
	// acceptAll gives the NIC the loopback capability, by which the netstack
	// takes the whole subnet of an address as its own (IPv4), and which makes
	// it leave transport checksums out, so that we fill them in.
	acceptAll bool

	disp atomic.Pointer[stack.NetworkDispatcher]
}

var (
	_ stack.LinkEndpoint = (*linkEndpoint)(nil)
	_ stack.GSOEndpoint  = (*linkEndpoint)(nil)
)

func (e *linkEndpoint) dispatcher() stack.NetworkDispatcher {
	if e == nil {
		return nil
	}
	if p := e.disp.Load(); p != nil {
		return *p
	}
	return nil
}

// WritePackets queues packets. One that does not fit is dropped, as a link
// would; TCP sends it again.
func (e *linkEndpoint) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range pkts.AsSlice() {
		e.queue.push(pkt, e.acceptAll)
	}
	return pkts.Len(), nil
}

// GSOMaxSize is the largest TCP packet that the device splits.
func (e *linkEndpoint) GSOMaxSize() uint32 { return gsoMaxBytes }

// SupportedGSO tells TCP to leave segmentation to the device.
func (e *linkEndpoint) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// Capabilities: what WireGuard delivers is authenticated, so received
// checksums are not verified.
func (e *linkEndpoint) Capabilities() stack.LinkEndpointCapabilities {
	c := stack.CapabilityRXChecksumOffload
	if e.acceptAll {
		c |= stack.CapabilityLoopback
	}
	return c
}

// Attach is called by the stack with a nil dispatcher when the NIC goes.
func (e *linkEndpoint) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		e.disp.Store(nil)
		return
	}
	e.disp.Store(&d)
}

// IsAttached reports whether the NIC is in a stack.
func (e *linkEndpoint) IsAttached() bool { return e.disp.Load() != nil }

// MTU is the largest IP packet.
func (e *linkEndpoint) MTU() uint32 { return e.mtu }

// SetMTU does nothing: WireGuard's MTU is fixed when the device is made.
func (e *linkEndpoint) SetMTU(uint32) {}

// MaxHeaderLength is 0: there is no link header.
func (e *linkEndpoint) MaxHeaderLength() uint16 { return 0 }

// LinkAddress is empty: there is no link layer.
func (e *linkEndpoint) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress does nothing.
func (e *linkEndpoint) SetLinkAddress(tcpip.LinkAddress) {}

// Wait returns at once: the endpoint owns no goroutine.
func (e *linkEndpoint) Wait() {}

// ARPHardwareType is that of a point-to-point device.
func (e *linkEndpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader does nothing.
func (e *linkEndpoint) AddHeader(*stack.PacketBuffer) {}

// ParseHeader accepts every packet.
func (e *linkEndpoint) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close does nothing; the device has its own Close.
func (e *linkEndpoint) Close() {}

// SetOnCloseAction does nothing: the stack removes the NIC.
func (e *linkEndpoint) SetOnCloseAction(func()) {}
