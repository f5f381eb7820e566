package tunnel

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

const (
	// bindBatch holds what one receive with UDP GRO yields: 64 KiB in
	// datagrams of the usual size.
	bindBatch = 64
	// recvMessages is how many messages, each of up to 64 KiB of joined
	// datagrams, one system call may return.
	recvMessages = 8
	recvBytes    = 1 << 16
	// maxTrain bounds the datagrams that are sent as one: the kernel's
	// UDP_MAX_SEGMENTS was 64 at first.
	maxTrain      = 64
	maxTrainBytes = 65000
)

type sockaddr = unix.Sockaddr

func newSockaddr(ap netip.AddrPort) sockaddr {
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
	if ifi, err := net.InterfaceByName(ap.Addr().Zone()); err == nil {
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa
}

// controlSocket asks for large buffers and for UDP GRO. It fails for neither.
func controlSocket(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		for _, opt := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF, unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt, socketBufferBytes)
		}
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
}

// udpSocket moves batches: it sends runs of equal datagrams as one message
// (UDP_SEGMENT) without copying them together, and takes joined ones apart
// (UDP_GRO). See udp(7).
type udpSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	gso  atomic.Bool

	// Only the one receiving goroutine uses these.
	reader batchReader
	msgs   []ipv6.Message
	got    int // messages in msgs
	at     int // the one that is being taken apart
	off    int // inside it
	last   *udpEndpoint
}

type batchReader interface {
	ReadBatch(ms []ipv6.Message, flags int) (int, error)
}

func newUDPSocket(c *net.UDPConn, is4 bool) *udpSocket {
	s := &udpSocket{conn: c}
	if is4 {
		s.reader = ipv4.NewPacketConn(c)
	} else {
		s.reader = ipv6.NewPacketConn(c)
	}
	s.msgs = make([]ipv6.Message, recvMessages)
	for i := range s.msgs {
		s.msgs[i].Buffers = [][]byte{make([]byte, recvBytes)}
		s.msgs[i].OOB = make([]byte, unix.CmsgSpace(4))
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return s // closed already: receive says so
	}
	s.raw = raw
	_ = raw.Control(func(fd uintptr) {
		_, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		s.gso.Store(err == nil)
	})
	return s
}

// receive is a conn.ReceiveFunc.
func (s *udpSocket) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	if s.at == s.got {
		for i := range s.msgs {
			s.msgs[i].OOB = s.msgs[i].OOB[:cap(s.msgs[i].OOB)]
		}
		n, err := s.reader.ReadBatch(s.msgs, 0)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				err = net.ErrClosed
			}
			return 0, err
		}
		s.got, s.at, s.off = n, 0, 0
	}
	n := 0
	for s.at < s.got && n < len(bufs) {
		m := &s.msgs[s.at]
		ep := s.endpoint(m.Addr)
		data := m.Buffers[0][:m.N]
		step := segmentSize(m.OOB[:m.NN])
		if step == 0 {
			step = len(data)
		}
		for n < len(bufs) && (s.off < len(data) || len(data) == 0) {
			end := min(s.off+step, len(data))
			sizes[n] = copy(bufs[n], data[s.off:end])
			eps[n] = ep
			s.off = end
			n++
			if len(data) == 0 {
				break
			}
		}
		if s.off >= len(data) {
			s.at, s.off = s.at+1, 0
		}
	}
	return n, nil
}

// endpoint reuses the one before if the sender is the same, as it mostly is.
func (s *udpSocket) endpoint(a net.Addr) *udpEndpoint {
	ua, ok := a.(*net.UDPAddr)
	if !ok {
		return s.last
	}
	ap := ua.AddrPort()
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	if s.last == nil || s.last.addr != ap {
		s.last = newUDPEndpoint(ap)
	}
	return s.last
}

// segmentSize is the size of the datagrams that the kernel joined, or 0.
func segmentSize(oob []byte) int {
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 2 {
			return int(*(*uint16)(unsafe.Pointer(unsafe.SliceData(data))))
		}
		oob = rest
	}
	return 0
}

func (s *udpSocket) send(bufs [][]byte, to *udpEndpoint) error {
	for len(bufs) > 0 {
		n := 1
		if s.gso.Load() {
			n = train(bufs)
		}
		err := s.sendTrain(bufs[:n], to)
		if n > 1 && errors.Is(err, unix.EIO) {
			// The device cannot compute checksums, which UDP_SEGMENT needs.
			s.gso.Store(false)
			continue
		}
		if err != nil {
			return err
		}
		bufs = bufs[n:]
	}
	return nil
}

// train is how many leading datagrams can go as one message: all of the first
// one's size, but for a last one that may be smaller.
func train(bufs [][]byte) int {
	size, total := len(bufs[0]), 0
	for i, b := range bufs {
		if i == maxTrain || len(b) > size || total+len(b) > maxTrainBytes {
			return max(1, i)
		}
		total += len(b)
		if len(b) < size {
			return i + 1
		}
	}
	return len(bufs)
}

func (s *udpSocket) sendTrain(bufs [][]byte, to *udpEndpoint) error {
	var oob []byte
	if len(bufs) > 1 {
		oob = segmentControl(uint16(len(bufs[0])))
	}
	var serr error
	err := s.raw.Write(func(fd uintptr) bool {
		for {
			_, serr = unix.SendmsgBuffers(int(fd), bufs, oob, to.to, 0)
			if serr != unix.EINTR { //nolint:errorlint // a system call's bare number
				return serr != unix.EAGAIN //nolint:errorlint // as above
			}
		}
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", serr)
}

// segmentControl is the control message that has the kernel cut a message.
func segmentControl(size uint16) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&b[unix.CmsgLen(0)])) = size
	return b
}
