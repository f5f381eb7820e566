package vnet

import (
	"encoding/binary"
	"net/netip"

	"weft/internal/kind"
)

// The layout of a block. An address is its block's base plus an offset of six
// bits: the mode in the highest, the slot in the other five. In IPv6 bit 6 is
// set as well, so that no address of ours has an all-zero interface identifier,
// which is the Subnet-Router anycast address (RFC 4291 section 2.6.1).
const (
	blockBitsV4 = 26
	blockBitsV6 = 64
	slotBits    = 5
	slotCount   = 1 << slotBits
	offsetCount = 2 * slotCount
	hostBaseV6  = offsetCount
)

// MaxSlots is how many virtual networks one device can use at a time: every
// slot but the ControlSlot.
const MaxSlots = slotCount - 1

// sharedV4 is the shared address space of RFC 6598.
var sharedV4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)

// DefaultPool is 100.64.0.0/10 (RFC 6598) with the ULA /48 given (RFC 4193). A
// prefix that cannot hold blocks is reported by Validate and Block.
func DefaultPool(ula netip.Prefix) Pool { return Pool{V4: sharedV4, V6: ula} }

// Validate reports whether blocks can be cut from the pool: an IPv4 prefix of
// at most 26 bits and an IPv6 one of at most 64, both without host bits.
func (p Pool) Validate() error {
	switch {
	case !p.V4.IsValid() || !p.V4.Addr().Is4():
		return kind.New(kind.Invalid, "tunnel pool %s is not an IPv4 prefix", p.V4)
	case !p.V6.IsValid() || !p.V6.Addr().Is6() || p.V6.Addr().Is4In6():
		return kind.New(kind.Invalid, "tunnel pool %s is not an IPv6 prefix", p.V6)
	case p.V4.Bits() > blockBitsV4 || p.V6.Bits() > blockBitsV6:
		return kind.New(kind.Invalid, "tunnel pool %s, %s is too small for a block", p.V4, p.V6)
	case p.V4 != p.V4.Masked() || p.V6 != p.V6.Masked():
		return kind.New(kind.Invalid, "tunnel pool %s, %s has host bits set", p.V4, p.V6)
	}
	return nil
}

// Capacity is the number of blocks, that of the gateways included: at most
// 65536, fewer when a prefix is longer than IPv4 /10 or IPv6 /48, 0 when the
// pool is not valid.
func (p Pool) Capacity() int {
	if p.Validate() != nil {
		return 0
	}
	n := min(blockBitsV4-p.V4.Bits(), blockBitsV6-p.V6.Bits(), 16)
	return 1 << n
}

// Block returns the block of a device's index, 1 to 65535; index 0 belongs to
// the gateways and is refused, as is one beyond the pool's capacity.
func (p Pool) Block(index uint16) (Block, error) {
	if err := p.Validate(); err != nil {
		return Block{}, err
	}
	if index == 0 {
		return Block{}, kind.New(kind.Invalid, "block 0 of the tunnel pool belongs to the gateways")
	}
	if int(index) >= p.Capacity() {
		return Block{}, kind.New(kind.Limit, "tunnel pool %s, %s has no block %d", p.V4, p.V6, index)
	}
	return p.block(index), nil
}

// block cuts a block from a pool that is valid and large enough.
func (p Pool) block(index uint16) Block {
	v4 := p.V4.Addr().As4()
	base := binary.BigEndian.Uint32(v4[:]) + uint32(index)<<(32-blockBitsV4)
	binary.BigEndian.PutUint32(v4[:], base)
	v6 := p.V6.Addr().As16()
	high := binary.BigEndian.Uint64(v6[:8]) + uint64(index)
	binary.BigEndian.PutUint64(v6[:8], high)
	return Block{
		V4: netip.PrefixFrom(netip.AddrFrom4(v4), blockBitsV4),
		V6: netip.PrefixFrom(netip.AddrFrom16(v6), blockBitsV6),
	}
}

// Index returns the block index that a belongs to; 0 is the gateways' own. It
// is not ok for an address outside the pool's blocks. That a is in a block does
// not make it an address of a slot: Locate tells.
func (p Pool) Index(a netip.Addr) (index uint16, ok bool) {
	capacity := p.Capacity()
	if capacity == 0 || a.Zone() != "" {
		return 0, false
	}
	var n uint64
	switch {
	case p.V4.Contains(a):
		a4, base := a.As4(), p.V4.Addr().As4()
		n = uint64(binary.BigEndian.Uint32(a4[:])-binary.BigEndian.Uint32(base[:])) >> (32 - blockBitsV4)
	case p.V6.Contains(a):
		a6, base := a.As16(), p.V6.Addr().As16()
		n = binary.BigEndian.Uint64(a6[:8]) - binary.BigEndian.Uint64(base[:8])
	default:
		return 0, false
	}
	if n >= uint64(capacity) {
		return 0, false
	}
	return uint16(n), true
}

// GatewayAddrs are the addresses at which a gateway answers probes: the first
// of block 0 (ControlSlot, ModeNetstack). They are zero when the pool is not valid.
func (p Pool) GatewayAddrs() (v4, v6 netip.Addr) {
	if p.Validate() != nil {
		return netip.Addr{}, netip.Addr{}
	}
	return p.block(0).at(0)
}

// Validate reports whether b has the shape of a block: an IPv4 /26 and an IPv6
// /64 without host bits.
func (b Block) Validate() error {
	ok4 := b.V4.IsValid() && b.V4.Addr().Is4() && b.V4.Bits() == blockBitsV4 && b.V4 == b.V4.Masked()
	ok6 := b.V6.IsValid() && b.V6.Addr().Is6() && !b.V6.Addr().Is4In6() && b.V6.Bits() == blockBitsV6 && b.V6 == b.V6.Masked()
	if !ok4 || !ok6 {
		return kind.New(kind.Invalid, "tunnel block %s, %s is not an IPv4 /26 and an IPv6 /64", b.V4, b.V6)
	}
	return nil
}

// Addrs returns the addresses of (slot, mode) in the block. It refuses a slot
// above 31, an unknown mode and a malformed block.
func (b Block) Addrs(s Slot, m Mode) (v4, v6 netip.Addr, err error) {
	if err := b.Validate(); err != nil {
		return netip.Addr{}, netip.Addr{}, err
	}
	if s >= slotCount {
		return netip.Addr{}, netip.Addr{}, kind.New(kind.Invalid, "slot %d is above %d", s, slotCount-1)
	}
	if m > ModeTUN {
		return netip.Addr{}, netip.Addr{}, kind.New(kind.Invalid, "tunnel mode %d is unknown", m)
	}
	v4, v6 = b.at(uint8(m)<<slotBits | uint8(s))
	return v4, v6, nil
}

// at returns the addresses at an offset below 64.
func (b Block) at(offset uint8) (v4, v6 netip.Addr) {
	a4 := b.V4.Addr().As4()
	a4[3] |= offset
	a6 := b.V6.Addr().As16()
	a6[15] = hostBaseV6 | offset
	return netip.AddrFrom4(a4), netip.AddrFrom16(a6)
}

// Locate is the inverse of Addrs. It is not ok for an address that Addrs never
// gives: outside the block, with a zone, IPv4-mapped, or another interface
// identifier of the /64.
func (b Block) Locate(a netip.Addr) (s Slot, m Mode, ok bool) {
	if b.Validate() != nil || a.Zone() != "" {
		return 0, 0, false
	}
	var offset uint8
	switch {
	case b.V4.Contains(a):
		a4 := a.As4()
		offset = a4[3] & (offsetCount - 1)
	case b.V6.Contains(a):
		a6 := a.As16()
		host := binary.BigEndian.Uint64(a6[8:])
		if host < hostBaseV6 || host >= hostBaseV6+offsetCount {
			return 0, 0, false
		}
		offset = a6[15] & (offsetCount - 1)
	default:
		return 0, 0, false
	}
	return Slot(offset & (slotCount - 1)), Mode(offset >> slotBits), true
}
