package access

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"weft/internal/kind"
)

// Limits of what one policy may say about forwardings.
const (
	MaxForwards       = 256  // destinations, and listen addresses
	maxForwardBytes   = 4096 // of one of them
	maxHostBytes      = 253  // RFC 1035 section 3.1, without the dot of the root
	maxSocketBytes    = 107  // sun_path of Linux, without the NUL
	socketPrefix      = "unix:"
	anyHost           = "*"
	maxPort           = 65535
	forwardingPointer = "/local_forwarding/destinations/"
	listenPointer     = "/remote_forwarding/listen/"
)

// LocalForwarding is what a login may reach from the target (ssh -L, -D, -W and -J): channels that the client opens
// and the target connects.
//
// A destination is HOST:PORT. HOST is a name, an address, a prefix, or "*" for every name and address; PORT is a port,
// or a range such as 8000-8100. IPv6 stands in brackets: "[fd00::1]:22", "[fd00::/8]:443". "unix:/run/app.sock" is a
// socket of the target. Three things follow, and none can be got around by spelling:
//
//   - A name is allowed as a name and resolved by the target. It is compared without regard to ASCII case and to a
//     dot at its end, and the target is asked for the spelling of the policy. A prefix never allows a name,
//     whatever the name stands for: "localhost", "127.0.0.1" and "::1" are three destinations.
//   - An address is compared as an address. An IPv4-mapped one (::ffff:10.0.0.1) is the IPv4 address.
//   - What a target's resolver could read as another address than we do is no destination of anybody: numbers that are
//     no dotted decimal (2130706433, 0x7f.1, 127.1, 010.0.0.1), zones, the unspecified addresses, an empty host.
type LocalForwarding struct {
	Destinations []string
}

// RemoteForwarding is what a login may have the target listen on (ssh -R). A listen address is HOST:PORT, with the
// host exactly as SSH clients send it: OpenSSH sends "localhost" unless told otherwise, and nothing for all addresses,
// which is "*" here. Port 0 lets the target choose one, and allows nothing but that. "unix:/tmp/x.sock" is a socket.
type RemoteForwarding struct {
	Listen []string
}

// forward is a destination or a listen address, read.
type forward struct {
	socket      string       // a path, else ""
	any         bool         // every name and address
	name        string       // lower case, without the dot at the end; else ""
	spelling    string       // name as it is asked for: with its dot if it was written
	prefix      netip.Prefix // valid if neither of the above
	first, last uint16
}

// PermitDial says whether the login may have the target connect to host and port, and as which host the target is to
// be asked: an address in canonical form, or a name in the spelling of the policy.
func (s *SSHRules) PermitDial(host string, port uint32) (ask string, ok bool) {
	if s == nil || s.LocalForwarding == nil || port < 1 || port > maxPort {
		return "", false
	}
	want, ok := readHost(host)
	if !ok {
		return "", false
	}
	for _, text := range s.LocalForwarding.Destinations {
		f, err := parseDestination(text)
		if err != nil || f.socket != "" || uint16(port) < f.first || uint16(port) > f.last {
			continue
		}
		switch {
		case f.any && want.name != "":
			return want.spelling, true
		case want.name != "":
			if f.name == want.name {
				return f.spelling, true
			}
		case f.any, f.name == "" && f.prefix.Contains(want.prefix.Addr()):
			return want.prefix.Addr().String(), true
		}
	}
	return "", false
}

// PermitDialSocket says whether the login may have the target connect to one of its sockets. The path is compared
// byte for byte; what is at it is the target's matter.
func (s *SSHRules) PermitDialSocket(socket string) bool {
	return s != nil && s.LocalForwarding != nil && validSocket(socket) && slices.Contains(s.LocalForwarding.Destinations, socketPrefix+socket)
}

// PermitListen says whether the login may have the target listen on host, as it came from the client, and port.
func (s *SSHRules) PermitListen(host string, port uint32) bool {
	if s == nil || s.RemoteForwarding == nil || port > maxPort {
		return false
	}
	if host == "" {
		host = anyHost // RFC 4254 section 7.1: all addresses and protocols
	}
	return slices.ContainsFunc(s.RemoteForwarding.Listen, func(text string) bool {
		at, p, err := parseListen(text)
		return err == nil && at != "" && at == host && uint32(p) == port
	})
}

// PermitListenSocket says whether the login may have the target listen on a socket.
func (s *SSHRules) PermitListenSocket(socket string) bool {
	return s != nil && s.RemoteForwarding != nil && validSocket(socket) && slices.Contains(s.RemoteForwarding.Listen, socketPrefix+socket)
}

// PermitAgent says whether the login may take its agent along; nil rules permit nothing.
func (s *SSHRules) PermitAgent() bool { return s != nil && s.AgentForwarding }

// PermitX11 says whether the login may forward X11; nil rules permit nothing.
func (s *SSHRules) PermitX11() bool { return s != nil && s.X11Forwarding }

// The extensions of a user certificate without which sshd refuses a forwarding (OpenSSH PROTOCOL.certkeys).
const (
	ExtensionPTY   = "permit-pty"
	ExtensionPort  = "permit-port-forwarding" // sockets too
	ExtensionAgent = "permit-agent-forwarding"
	ExtensionX11   = "permit-X11-forwarding"
)

// Extensions are what the certificate of a login under these rules must permit, and no more: a terminal always.
func (s *SSHRules) Extensions() []string {
	out := []string{ExtensionPTY}
	if s == nil {
		return out
	}
	if s.LocalForwarding != nil || s.RemoteForwarding != nil {
		out = append(out, ExtensionPort)
	}
	if s.AgentForwarding {
		out = append(out, ExtensionAgent)
	}
	if s.X11Forwarding {
		out = append(out, ExtensionX11)
	}
	return out
}

// validateForwarding checks both lists.
func (s *SSHRules) validateForwarding() error {
	if f := s.LocalForwarding; f != nil {
		if err := checkCount("/local_forwarding/destinations", len(f.Destinations)); err != nil {
			return err
		}
		for i, text := range f.Destinations {
			if _, err := parseDestination(text); err != nil {
				return at(forwardingPointer+strconv.Itoa(i), err)
			}
		}
	}
	if f := s.RemoteForwarding; f != nil {
		if err := checkCount("/remote_forwarding/listen", len(f.Listen)); err != nil {
			return err
		}
		for i, text := range f.Listen {
			if _, _, err := parseListen(text); err != nil {
				return at(listenPointer+strconv.Itoa(i), err)
			}
		}
	}
	return nil
}

func checkCount(pointer string, n int) error {
	switch {
	case n == 0:
		return kind.Field(pointer, "a forwarding needs at least one address").WithHint("to switch it off leave it out")
	case n > MaxForwards:
		return kind.Field(pointer, "a forwarding can have %d addresses; this one has %d", MaxForwards, n)
	}
	return nil
}

// parseDestination reads an entry of LocalForwarding.
func parseDestination(text string) (forward, error) {
	if socket, ok := strings.CutPrefix(text, socketPrefix); ok {
		return forward{socket: socket}, checkSocket(text, socket)
	}
	host, ports, err := splitForward(text)
	if err != nil {
		return forward{}, err
	}
	f, err := parseHost(text, host)
	if err != nil {
		return forward{}, err
	}
	var ok bool
	if f.first, f.last, ok = parsePorts(ports); !ok {
		return forward{}, kind.New(kind.Invalid, "%q is not a destination: a port is 1 to 65535, a range is written 8000-8100", clip(text))
	}
	return f, nil
}

// parseHost reads the host of a destination of a policy, without brackets.
func parseHost(text, host string) (forward, error) {
	if host == anyHost {
		return forward{any: true}, nil
	}
	if strings.Contains(host, "/") {
		p, err := netip.ParsePrefix(host)
		if err != nil || p.Addr().Is4In6() {
			return forward{}, kind.New(kind.Invalid, "%q is not a destination: %q is not a prefix", clip(text), clip(host))
		}
		if p != p.Masked() {
			return forward{}, kind.New(kind.Invalid, "%q is not a destination: the prefix has bits behind its length; %s is meant", clip(text), p.Masked())
		}
		return forward{prefix: p}, nil
	}
	f, ok := readHost(host)
	if !ok {
		return forward{}, kind.New(kind.Invalid, "%q is not a destination: %q is neither a name nor an address in its usual form", clip(text), clip(host)).
			WithHint(`write "name:port", "10.0.0.1:port", "[fd00::1]:port", or "unix:/path"`)
	}
	return f, nil
}

// readHost reads a host as a client or a policy writes it: an address (as a prefix of its whole length) or a name. It is
// not ok for what is neither, or not the same to everybody who reads it.
func readHost(host string) (forward, bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" { // before Unmap, which drops it
			return forward{}, false
		}
		if a = a.Unmap(); a.IsUnspecified() {
			return forward{}, false
		}
		return forward{prefix: netip.PrefixFrom(a, a.BitLen())}, true
	}
	name := strings.TrimSuffix(lowerASCII(host), ".")
	if !validHostName(name) || endsInNumber(name) {
		return forward{}, false
	}
	return forward{name: name, spelling: lowerASCII(host)}, true
}

// validHostName says whether name, in lower case, can be a name: labels of letters, digits, "-" and "_", none beginning
// with "-".
func validHostName(name string) bool {
	if name == "" || len(name) > maxHostBytes {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return false
		}
		for i := range len(label) {
			if !wordByte(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

// endsInNumber says whether a resolver could take name, in lower case, for an IPv4 address in one of the forms of inet_aton:
// its last label is a number, decimal, octal or hexadecimal (WHATWG URL, "ends in a number checker").
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// splitForward cuts HOST:PORT, where IPv6 stands in brackets and nothing else does.
func splitForward(text string) (host, ports string, err error) {
	malformed := kind.New(kind.Invalid, "%q is not an address of a forwarding: it has the form HOST:PORT, or unix:/path", clip(text))
	if len(text) > maxForwardBytes {
		return "", "", malformed
	}
	if rest, ok := strings.CutPrefix(text, "["); ok {
		host, ports, ok = strings.Cut(rest, "]:")
		if !ok || !strings.Contains(host, ":") {
			return "", "", malformed
		}
		return host, ports, nil
	}
	host, ports, ok := strings.Cut(text, ":")
	if !ok || host == "" || strings.Contains(ports, ":") {
		return "", "", malformed
	}
	return host, ports, nil
}

// parsePorts reads a port or a range.
func parsePorts(text string) (first, last uint16, ok bool) {
	from, to, isRange := strings.Cut(text, "-")
	first, ok = parsePort(from)
	if !isRange {
		return first, first, ok && first > 0
	}
	last, toOK := parsePort(to)
	return first, last, ok && toOK && 0 < first && first <= last
}

// parsePort reads a port in its one spelling; 0 is one.
func parsePort(text string) (uint16, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil && strconv.FormatUint(n, 10) == text
}

// parseListen reads an entry of RemoteForwarding; the host of a socket is "".
func parseListen(text string) (host string, port uint16, err error) {
	if socket, ok := strings.CutPrefix(text, socketPrefix); ok {
		return "", 0, checkSocket(text, socket)
	}
	host, p, err := splitForward(text)
	if err != nil {
		return "", 0, err
	}
	port, ok := parsePort(p)
	if !ok {
		return "", 0, kind.New(kind.Invalid, "%q is not a listen address: a port is 0 to 65535, and 0 lets the target choose", clip(text))
	}
	if host == anyHost {
		return host, port, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Is4In6() || a.Zone() != "" || a.String() != host {
			return "", 0, kind.New(kind.Invalid, "%q is not a listen address: write it as %s", clip(text), a.Unmap().WithZone(""))
		}
		return host, port, nil
	}
	if name := lowerASCII(host); name != host || !validHostName(name) || endsInNumber(name) {
		return "", 0, kind.New(kind.Invalid, "%q is not a listen address: its host is a name in lower case, an address, or * for all", clip(text))
	}
	return host, port, nil
}

func checkSocket(text, socket string) error {
	if validSocket(socket) {
		return nil
	}
	return kind.New(kind.Invalid, "%q does not name a socket: its path must be absolute, in its shortest form, of at most %d bytes, without control characters",
		clip(text), maxSocketBytes)
}

// validSocket says whether a path can be that of a socket in a policy.
func validSocket(socket string) bool {
	return path.IsAbs(socket) && path.Clean(socket) == socket && socket != "/" && len(socket) <= maxSocketBytes && checkText(socket) == ""
}

// ForwardingText says in a phrase what a login under these rules may forward, "" for nothing.
func (s *SSHRules) ForwardingText() string {
	if s == nil {
		return ""
	}
	var parts []string
	if f := s.LocalForwarding; f != nil {
		parts = append(parts, "to "+some(f.Destinations))
	}
	if f := s.RemoteForwarding; f != nil {
		parts = append(parts, "from "+some(f.Listen)+" on the target")
	}
	if s.AgentForwarding {
		parts = append(parts, "of the agent")
	}
	if s.X11Forwarding {
		parts = append(parts, "of X11")
	}
	if len(parts) == 0 {
		return ""
	}
	return "forwarding " + strings.Join(parts, "; ")
}

// some names the first of a list.
func some(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:most], ", ") + " and " + strconv.Itoa(len(list)-most) + " more"
}
