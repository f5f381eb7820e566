package tunnel

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	wgdevice "golang.zx2c4.com/wireguard/device"
)

// peerTable remembers what was configured, and which peer owns an address.
// Safe for concurrent use.
type peerTable struct {
	set sync.Mutex // held over a whole change

	mu     sync.RWMutex
	peers  map[PublicKey]Peer
	owners map[netip.Prefix]PublicKey
	bits   map[int]int // prefix lengths in use: 0-32 for IPv4, 128+n for IPv6
}

func newPeerTable() *peerTable {
	return &peerTable{
		peers:  make(map[PublicKey]Peer),
		owners: make(map[netip.Prefix]PublicKey),
		bits:   make(map[int]int),
	}
}

// source is what the limits count flows of an address by.
func (t *peerTable) source(a netip.Addr) sourceKey {
	t.mu.RLock()
	defer t.mu.RUnlock()
	best, key := -1, PublicKey{}
	for code := range t.bits {
		n, ok := bitsOf(code, a)
		if !ok || n <= best {
			continue
		}
		if p, err := a.Prefix(n); err == nil {
			if k, ok := t.owners[p]; ok {
				best, key = n, k
			}
		}
	}
	if best < 0 {
		return sourceKey{addr: a}
	}
	return sourceKey{peer: key}
}

func bitsCode(p netip.Prefix) int {
	if p.Addr().Is4() {
		return p.Bits()
	}
	return 128 + p.Bits()
}

func bitsOf(code int, a netip.Addr) (int, bool) {
	if code < 128 {
		return code, a.Is4()
	}
	return code - 128, a.Is6()
}

func (t *peerTable) put(p Peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(p.PublicKey)
	t.peers[p.PublicKey] = p
	for _, a := range p.AllowedIPs {
		a = a.Masked()
		// As in WireGuard, a prefix belongs to the peer that named it last.
		if _, ok := t.owners[a]; !ok {
			t.bits[bitsCode(a)]++
		}
		t.owners[a] = p.PublicKey
	}
}

func (t *peerTable) drop(k PublicKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(k)
}

func (t *peerTable) dropLocked(k PublicKey) {
	for _, a := range t.peers[k].AllowedIPs {
		a = a.Masked()
		if t.owners[a] != k {
			continue
		}
		delete(t.owners, a)
		if t.bits[bitsCode(a)]--; t.bits[bitsCode(a)] <= 0 {
			delete(t.bits, bitsCode(a))
		}
	}
	delete(t.peers, k)
}

func (t *peerTable) get(k PublicKey) (Peer, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p, ok := t.peers[k]
	return p, ok
}

// SetPeer adds or updates a peer; idempotent. Setting what is already set
// does nothing: in particular it does not undo the endpoint that was learned
// from a peer that roamed.
func (t *Tunnel) SetPeer(p Peer) error {
	if err := p.validate(); err != nil {
		return err
	}
	t.peers.set.Lock()
	defer t.peers.set.Unlock()
	if t.isClosed() {
		return fmt.Errorf("set peer %s: %w", p.PublicKey, ErrClosed)
	}
	old, known := t.peers.get(p.PublicKey)
	if known && reflect.DeepEqual(old, p) {
		return nil
	}
	p.AllowedIPs = append([]netip.Prefix(nil), p.AllowedIPs...)
	var b strings.Builder
	fmt.Fprintf(&b, "public_key=%s\n", hex.EncodeToString(p.PublicKey[:]))
	if p.Endpoint.IsValid() && (!known || old.Endpoint != p.Endpoint) {
		fmt.Fprintf(&b, "endpoint=%s\n", p.Endpoint)
	}
	fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", int(p.Keepalive/time.Second))
	b.WriteString("replace_allowed_ips=true\n")
	for _, a := range p.AllowedIPs {
		fmt.Fprintf(&b, "allowed_ip=%s\n", a.Masked())
	}
	if err := t.wg.IpcSet(b.String()); err != nil {
		return fmt.Errorf("set peer %s: %w", p.PublicKey, err)
	}
	t.peers.put(p)
	return nil
}

func (p Peer) validate() error {
	if p.PublicKey.IsZero() {
		return errors.New("set peer: no public key")
	}
	if p.Keepalive < 0 || p.Keepalive > 65535*time.Second {
		return fmt.Errorf("set peer %s: keepalive of %s is out of range", p.PublicKey, p.Keepalive)
	}
	if p.Endpoint.IsValid() && p.Endpoint.Port() == 0 {
		return fmt.Errorf("set peer %s: endpoint %s has no port", p.PublicKey, p.Endpoint)
	}
	for _, a := range p.AllowedIPs {
		if !a.IsValid() || a.Addr().Is4In6() {
			return fmt.Errorf("set peer %s: prefix %s is not usable", p.PublicKey, a)
		}
	}
	return nil
}

// RemovePeer forgets a peer and aborts nothing else: its flows are for
// AbortFlows, which comes first so that the peer still hears of it.
func (t *Tunnel) RemovePeer(k PublicKey) error {
	t.peers.set.Lock()
	defer t.peers.set.Unlock()
	if t.isClosed() {
		return fmt.Errorf("remove peer %s: %w", k, ErrClosed)
	}
	t.wg.RemovePeer(wgdevice.NoisePublicKey(k))
	t.peers.drop(k)
	return nil
}

// rekeySettle is how long after SetPrivateKey a handshake that is under way gets.
const rekeySettle = 250 * time.Millisecond

// ForceHandshake expires the session keys and starts a handshake at once,
// instead of the 15 s after which WireGuard notices by itself that the other
// end has lost its keys. It does not wait for the answer; while the other end
// is down, call it again (a handshake is retried after 5 s otherwise).
func (t *Tunnel) ForceHandshake(k PublicKey) error {
	p := t.wg.LookupPeer(wgdevice.NoisePublicKey(k))
	if p == nil {
		return fmt.Errorf("force handshake with %s: no such peer", k)
	}
	if at := t.rekeyed.Load(); at == 0 || int64(time.Since(epoch))-at > int64(rekeySettle) {
		p.ExpireCurrentKeypairs()
	}
	if err := p.SendHandshakeInitiation(false); err != nil {
		return fmt.Errorf("force handshake with %s: %w", k, err)
	}
	return nil
}

// PeerStats of one peer; false when there is no such peer.
func (t *Tunnel) PeerStats(k PublicKey) (PeerStats, bool) {
	if _, ok := t.peers.get(k); !ok {
		return PeerStats{}, false
	}
	text, err := t.wg.IpcGet()
	if err != nil {
		return PeerStats{}, false
	}
	return parsePeerStats(text, k)
}

// parsePeerStats reads one peer from the text of WireGuard's UAPI
// (www.wireguard.com/xplatform).
func parsePeerStats(text string, k PublicKey) (PeerStats, bool) {
	var s PeerStats
	var sec, nsec int64
	found, mine := false, false
	want := hex.EncodeToString(k[:])
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		key, value, _ := strings.Cut(sc.Text(), "=")
		if key == "public_key" {
			if mine {
				break
			}
			mine = value == want
			found = found || mine
		}
		if !mine {
			continue
		}
		switch key {
		case "endpoint":
			s.Endpoint, _ = netip.ParseAddrPort(value)
		case "last_handshake_time_sec":
			sec, _ = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			nsec, _ = strconv.ParseInt(value, 10, 64)
		case "rx_bytes":
			s.RxBytes, _ = strconv.ParseUint(value, 10, 64)
		case "tx_bytes":
			s.TxBytes, _ = strconv.ParseUint(value, 10, 64)
		}
	}
	if sec != 0 || nsec != 0 {
		s.LastHandshake = time.Unix(sec, nsec)
	}
	return s, found
}
