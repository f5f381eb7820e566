package access_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/access"
	"weft/internal/kind"
	"weft/targets"
)

func dialRules(destinations ...string) *access.SSHRules {
	return &access.SSHRules{LocalForwarding: &access.LocalForwarding{Destinations: destinations}}
}

func listenRules(listen ...string) *access.SSHRules {
	return &access.SSHRules{RemoteForwarding: &access.RemoteForwarding{Listen: listen}}
}

func TestSSHRules_PermitDial(t *testing.T) {
	office := []string{"db.internal:5432", "fqdn.internal.:443", "10.0.0.0/8:443", "127.0.0.1:8000-8100", "[fd00::1]:22", "[fd01::/16]:1-65535"}
	tests := []struct {
		name  string
		rules []string
		host  string
		port  uint32
		ask   string // "": refused
	}{
		{"a name", office, "db.internal", 5432, "db.internal"},
		{"a name in another case", office, "DB.Internal", 5432, "db.internal"},
		{"a name with the dot of the root is asked for as listed", office, "db.internal.", 5432, "db.internal"},
		{"a name listed with its dot keeps it", office, "fqdn.internal", 443, "fqdn.internal."},
		{"a name with two dots at its end", office, "db.internal..", 5432, ""},
		{"a name at another port", office, "db.internal", 5433, ""},
		{"part of a name", office, "internal", 5432, ""},
		{"a longer name", office, "x.db.internal", 5432, ""},
		{"a name in a script of its own", office, "db.\u0131nternal", 5432, ""},
		{"the Kelvin sign is no k", []string{"k:1"}, "\u212a", 1, ""},
		{"a name with a space", office, "db.internal ", 5432, ""},
		{"a name with NUL", office, "db.internal\x00", 5432, ""},
		{"a name behind a user", office, "x@db.internal", 5432, ""},
		{"a name with a percent sign", office, "db%2einternal", 5432, ""},

		{"an address in a prefix", office, "10.1.2.3", 443, "10.1.2.3"},
		{"an address beside a prefix", office, "11.0.0.1", 443, ""},
		{"an IPv4-mapped address is the IPv4 address", office, "::ffff:10.1.2.3", 443, "10.1.2.3"},
		{"an IPv4-mapped address in hexadecimal", office, "::FFFF:0a01:0203", 443, "10.1.2.3"},
		{"an IPv4-compatible address is not", office, "::10.1.2.3", 443, ""},
		{"leading zeros", office, "010.1.2.3", 443, ""},
		{"leading zeros later", office, "10.01.2.3", 443, ""},
		{"a decimal number", []string{"127.0.0.1:22", "*:22"}, "2130706433", 22, ""},
		{"a hexadecimal number", []string{"127.0.0.1:22", "*:22"}, "0x7f000001", 22, ""},
		{"a hexadecimal part", []string{"127.0.0.1:22", "*:22"}, "0x7f.1", 22, ""},
		{"a hexadecimal last part", []string{"127.0.0.1:22", "*:22"}, "127.0x1", 22, ""},
		{"a bare 0x", []string{"*:22"}, "0x", 22, ""},
		{"an upper-case hexadecimal number", []string{"*:22"}, "0X7F000001", 22, ""},
		{"a short form", []string{"127.0.0.1:22", "*:22"}, "127.1", 22, ""},
		{"a number with the dot of the root", []string{"127.0.0.1:22", "*:22"}, "127.0.0.1.", 22, ""},
		{"five parts", []string{"*:22"}, "1.2.3.4.5", 22, ""},
		{"an octal part", []string{"*:22"}, "0177.0.0.1", 22, ""},
		{"zero", []string{"*:22", "0.0.0.0/0:22"}, "0", 22, ""},
		{"the unspecified address", []string{"*:22", "0.0.0.0/0:22"}, "0.0.0.0", 22, ""},
		{"the unspecified IPv6 address", []string{"*:22", "[::/0]:22"}, "::", 22, ""},
		{"the unspecified address, mapped", []string{"*:22", "[::/0]:22", "0.0.0.0/0:22"}, "::ffff:0.0.0.0", 22, ""},
		{"an IPv6 address", office, "fd00::1", 22, "fd00::1"},
		{"an IPv6 address in another spelling", office, "FD00:0:0::0001", 22, "fd00::1"},
		{"an IPv6 address with a zone", office, "fd00::1%eth0", 22, ""},
		{"an IPv4-mapped address with a zone", []string{"127.0.0.1:22", "*:22"}, "::ffff:127.0.0.1%lo", 22, ""},
		{"an IPv6 address in brackets", office, "[fd00::1]", 22, ""},
		{"an IPv6 address in a prefix", office, "fd01:2::3", 65535, "fd01:2::3"},
		{"an IPv4-mapped address is in no IPv6 prefix", []string{"[::/0]:22"}, "::ffff:10.0.0.1", 22, ""},

		{"a prefix never allows a name", []string{"0.0.0.0/0:22", "[::/0]:22"}, "localhost", 22, ""},
		{"localhost is not 127.0.0.1", []string{"127.0.0.1:22"}, "localhost", 22, ""},
		{"127.0.0.1 is not localhost", []string{"localhost:22"}, "127.0.0.1", 22, ""},
		{"::1 is not localhost", []string{"localhost:22"}, "::1", 22, ""},
		{"localhost is localhost", []string{"localhost:22"}, "LOCALHOST.", 22, "localhost"},

		{"first of a range", office, "127.0.0.1", 8000, "127.0.0.1"},
		{"last of a range", office, "127.0.0.1", 8100, "127.0.0.1"},
		{"before a range", office, "127.0.0.1", 7999, ""},
		{"behind a range", office, "127.0.0.1", 8101, ""},
		{"port zero", []string{"*:1-65535"}, "127.0.0.1", 0, ""},
		{"a port that wraps round", []string{"10.0.0.0/8:443"}, "10.0.0.1", 65536 + 443, ""},
		{"the greatest port", []string{"*:1-65535"}, "127.0.0.1", 1<<32 - 1, ""},

		{"anything allows a name", []string{"*:443"}, "Example.COM.", 443, "example.com."},
		{"anything allows an address", []string{"*:443"}, "::ffff:1.2.3.4", 443, "1.2.3.4"},
		{"anything is not a socket", []string{"*:443"}, "/run/app.sock", 443, ""},
		{"an empty host", []string{"*:443"}, "", 443, ""},
		{"a dot", []string{"*:443"}, ".", 443, ""},
		{"a star", []string{"*:443"}, "*", 443, ""},
		{"a name that begins like an option", []string{"*:443"}, "-oProxyCommand", 443, ""},
		{"a prefix as a host", []string{"10.0.0.0/8:443"}, "10.0.0.0/8", 443, ""},
		{"a socket entry as a host", []string{"unix:/run/app.sock"}, "unix:/run/app.sock", 1, ""},
		{"a label too long", []string{"*:443"}, strings.Repeat("a", 64), 443, ""},
		{"a name too long", []string{"*:443"}, strings.Repeat("abc.", 64) + "de", 443, ""},
		{"nothing listed", nil, "db.internal", 5432, ""},
		{"what cannot be read grants nothing", []string{"10.0.0.0/8", "db.internal", "[fd00::1]"}, "10.0.0.1", 22, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ask, ok := dialRules(tt.rules...).PermitDial(tt.host, tt.port)
			if ask != tt.ask || ok != (tt.ask != "") {
				t.Errorf("PermitDial(%q, %d) = %q, %t; want %q", tt.host, tt.port, ask, ok, tt.ask)
			}
		})
	}
}

func TestSSHRules_NothingIsPermittedUnlessSet(t *testing.T) {
	for _, r := range []*access.SSHRules{nil, {}, dialRules(), listenRules()} {
		if _, ok := r.PermitDial("localhost", 22); ok || r.PermitDialSocket("/run/a") || r.PermitListen("localhost", 0) ||
			r.PermitListenSocket("/run/a") || r.PermitAgent() || r.PermitX11() {
			t.Errorf("%+v permits something", r)
		}
	}
	if _, ok := listenRules("localhost:22").PermitDial("localhost", 22); ok {
		t.Error("a listen address is a destination")
	}
	if dialRules("localhost:22").PermitListen("localhost", 22) {
		t.Error("a destination is a listen address")
	}
}

func TestSSHRules_PermitSockets(t *testing.T) {
	d, l := dialRules("unix:/run/app.sock", "*:1-65535"), listenRules("unix:/run/app.sock")
	for socket, want := range map[string]bool{
		"/run/app.sock": true, "/run/app.sock\x00": false, "/run//app.sock": false, "/run/../run/app.sock": false, "run/app.sock": false,
		"/run/APP.sock": false, "/run/app.sock/": false, "": false, "/": false, "*": false, "/run/other": false,
	} {
		if got := d.PermitDialSocket(socket); got != want {
			t.Errorf("PermitDialSocket(%q) = %t", socket, got)
		}
		if got := l.PermitListenSocket(socket); got != want {
			t.Errorf("PermitListenSocket(%q) = %t", socket, got)
		}
	}
}

func TestSSHRules_PermitListen(t *testing.T) {
	r := listenRules("localhost:8080", "127.0.0.1:0", "*:9000", "[::1]:22")
	tests := []struct {
		name string
		host string
		port uint32
		want bool
	}{
		{"as listed", "localhost", 8080, true},
		{"another port", "localhost", 8081, false},
		{"another spelling is another address", "LOCALHOST", 8080, false},
		{"the address behind the name", "127.0.0.1", 8080, false},
		{"the target chooses", "127.0.0.1", 0, true},
		{"the target chooses, and nobody else", "127.0.0.1", 8080, false},
		{"all addresses", "", 9000, true},
		{"all addresses, as some clients say it", "*", 9000, true},
		{"all IPv4 addresses are not all", "0.0.0.0", 9000, false},
		{"IPv6", "::1", 22, true},
		{"IPv6 in another spelling", "0::1", 22, false},
		{"a port that wraps round", "localhost", 65536 + 8080, false},
		{"nothing of all addresses", "", 8080, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := r.PermitListen(tt.host, tt.port); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestSSHRules_ValidateForwarding(t *testing.T) {
	many := slices.Repeat([]string{"a:1"}, access.MaxForwards+1)
	tests := []struct {
		name    string
		rules   *access.SSHRules
		pointer string // "": valid
	}{
		{"names, prefixes, ranges, sockets", dialRules("db.internal:5432", "10.0.0.0/8:443", "127.0.0.1:8000-8100", "[fd00::1]:22", "unix:/run/app.sock", "*:1-65535"), ""},
		{"listen addresses", listenRules("localhost:8080", "127.0.0.1:0", "[::1]:0", "*:80", "unix:/tmp/x.sock"), ""},
		{"no destination", dialRules(), "/local_forwarding/destinations"},
		{"no listen address", listenRules(), "/remote_forwarding/listen"},
		{"too many destinations", dialRules(many...), "/local_forwarding/destinations"},
		{"too many listen addresses", listenRules(many...), "/remote_forwarding/listen"},
		{"no port", dialRules("a:1", "db.internal"), "/local_forwarding/destinations/1"},
		{"port zero", dialRules("db.internal:0"), "/local_forwarding/destinations/0"},
		{"port too great", dialRules("db.internal:65536"), "/local_forwarding/destinations/0"},
		{"port with a sign", dialRules("db.internal:+22"), "/local_forwarding/destinations/0"},
		{"port with zeros", dialRules("db.internal:022"), "/local_forwarding/destinations/0"},
		{"a range backwards", dialRules("db.internal:9-8"), "/local_forwarding/destinations/0"},
		{"a range of three", dialRules("db.internal:1-2-3"), "/local_forwarding/destinations/0"},
		{"IPv6 without brackets", dialRules("fd00::1:22"), "/local_forwarding/destinations/0"},
		{"a name in brackets", dialRules("[db]:22"), "/local_forwarding/destinations/0"},
		{"an IPv4-mapped prefix", dialRules("[::ffff:10.0.0.0/104]:22"), "/local_forwarding/destinations/0"},
		{"a prefix with bits behind it", dialRules("10.0.0.1/8:22"), "/local_forwarding/destinations/0"},
		{"a number that is no address", dialRules("2130706433:22"), "/local_forwarding/destinations/0"},
		{"a wildcard inside a name", dialRules("*.internal:22"), "/local_forwarding/destinations/0"},
		{"a zone", dialRules("[fe80::1%eth0]:22"), "/local_forwarding/destinations/0"},
		{"the unspecified address", dialRules("0.0.0.0:22"), "/local_forwarding/destinations/0"},
		{"a relative socket", dialRules("unix:run/app.sock"), "/local_forwarding/destinations/0"},
		{"a socket with dots", dialRules("unix:/run/../app.sock"), "/local_forwarding/destinations/0"},
		{"a socket too long", dialRules("unix:/" + strings.Repeat("a", 107)), "/local_forwarding/destinations/0"},
		{"empty", dialRules(""), "/local_forwarding/destinations/0"},
		{"a listen prefix", listenRules("10.0.0.0/8:22"), "/remote_forwarding/listen/0"},
		{"a listen range", listenRules("localhost:1-2"), "/remote_forwarding/listen/0"},
		{"a listen address in another spelling", listenRules("[0::1]:22"), "/remote_forwarding/listen/0"},
		{"a listen name in upper case", listenRules("Localhost:22"), "/remote_forwarding/listen/0"},
		{"limits", &access.SSHRules{MaxSessionDuration: 8 * time.Hour, IdleTimeout: time.Second}, ""},
		{"a negative limit", &access.SSHRules{MaxSessionDuration: -time.Hour}, "/max_session_duration"},
		{"a limit too short", &access.SSHRules{IdleTimeout: time.Millisecond}, "/idle_timeout"},
		{"a limit too long", &access.SSHRules{IdleTimeout: 400 * 24 * time.Hour}, "/idle_timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.rules.Validate()
			var pointer string
			if e, ok := err.(*kind.Error); ok { //nolint:errorlint // the error itself has the pointer, not one in its chain
				pointer = e.Pointer
			}
			if pointer != tt.pointer || (err == nil) != (tt.pointer == "") {
				t.Errorf("got %v at %q; want %q", err, pointer, tt.pointer)
			}
		})
	}
}

func TestSSHRules_ForwardingText(t *testing.T) {
	many := dialRules("a:1", "b:2", "c:3", "d:4", "e:5", "f:6", "g:7")
	many.RemoteForwarding = &access.RemoteForwarding{Listen: []string{"localhost:0"}}
	many.AgentForwarding, many.X11Forwarding = true, true
	for want, rules := range map[string]*access.SSHRules{
		"": {Usernames: []string{"root"}},
		"forwarding to a:1, b:2, c:3, d:4, e:5 and 2 more; from localhost:0 on the target; of the agent; of X11": many,
	} {
		if got := rules.ForwardingText(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (*access.SSHRules)(nil).ForwardingText(); got != "" {
		t.Errorf("no rules: %q", got)
	}
}

func TestSSHRules_Extensions(t *testing.T) {
	tests := []struct {
		name  string
		rules *access.SSHRules
		want  []string
	}{
		{"no rules", nil, []string{"permit-pty"}},
		{"nothing set", &access.SSHRules{Usernames: []string{"root"}}, []string{"permit-pty"}},
		{"local", dialRules("a:1"), []string{"permit-pty", "permit-port-forwarding"}},
		{"remote", listenRules("a:1"), []string{"permit-pty", "permit-port-forwarding"}},
		{"agent and X11", &access.SSHRules{AgentForwarding: true, X11Forwarding: true}, []string{"permit-pty", "permit-agent-forwarding", "permit-X11-forwarding"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.rules.Extensions()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDecision_SSHRulesOfOnePolicy: what a policy allows is not added to what another does for the same UNIX user.
func TestDecision_SSHRulesOfOnePolicy(t *testing.T) {
	in := demo()
	p := in.Applications[0].Policies[0]
	p.SSH = &access.SSHRules{Usernames: []string{"root", "deploy"}, LocalForwarding: &access.LocalForwarding{Destinations: []string{"db:5432"}}, X11Forwarding: true}
	second := p
	second.ID, second.Name, second.Precedence = "p2", "second", 2
	second.SSH = &access.SSHRules{Usernames: []string{"root", "admin"}, AgentForwarding: true}
	in.Applications[0].Policies = []access.Policy{second, p}
	s := compile(t, in)
	at := func(login string) access.Decision {
		return access.Evaluate(s, access.Query{
			Identity: user("jdoe@company.com"), Device: device(), VNET: netA, Destination: seedDestination, Transport: targets.TransportTCP, Login: login,
		})
	}
	tests := []struct {
		name, login, policy string
		dial, agent         bool
	}{
		{"both grant it: the first", "root", "p1", true, false},
		{"the first alone", "deploy", "p1", true, false},
		{"the second alone", "admin", "p2", false, true},
		{"neither", "nobody", "p1", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := at(tt.login)
			_, dial := d.SSHRules().PermitDial("db", 5432)
			if d.Policy == nil || d.Policy.ID != tt.policy || dial != tt.dial || d.SSHRules().PermitAgent() != tt.agent {
				t.Errorf("policy %+v, dial %t, agent %t", d.Policy, dial, d.SSHRules().PermitAgent())
			}
		})
	}
	in.Applications[0].Policies[1].SSH.LocalForwarding.Destinations[0] = "*:1-65535"
	if _, ok := at("root").SSHRules().PermitDial("other", 22); ok {
		t.Error("the snapshot shares the list with what it was compiled from")
	}
}

func TestParseSessionLimit(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"8h": 8 * time.Hour, "15m": 15 * time.Minute, "1h30m": 90 * time.Minute, "1s": time.Second,
		"": 0, "0": 0, "0s": 0, "8": 0, "-8h": 0, "8 h": 0, "999ms": 0, "1d": 0, "9000h": 0, "9999999999999h": 0,
	} {
		got, err := access.ParseSessionLimit(text)
		if (err == nil) != (want != 0) || err == nil && got != want {
			t.Errorf("%q: got %s, %v; want %s", text, got, err, want)
		}
	}
}

// FuzzSSHRules_PermitDial holds the matcher to what it promises: what it asks the target for is one thing to whoever reads it, and
// covered by the entry.
func FuzzSSHRules_PermitDial(f *testing.F) {
	for _, e := range []string{"db.internal:5432", "10.0.0.0/8:443", "127.0.0.1:8000-8100", "[fd00::1]:22", "[::/0]:1-65535", "*:80", "unix:/run/a"} {
		for _, h := range []string{"db.internal.", "10.1.2.3", "::ffff:10.0.0.1", "2130706433", "0x7f.1", "FD00::1", "fe80::1%1", ""} {
			f.Add(e, h, uint32(443))
		}
	}
	f.Fuzz(func(t *testing.T, entry, host string, port uint32) {
		r := dialRules(entry)
		ask, ok := r.PermitDial(host, port)
		if !ok {
			if ask != "" {
				t.Fatalf("refused, and yet %q", ask)
			}
			return
		}
		if r.Validate() != nil {
			t.Fatalf("an entry that is not valid grants: %q", entry)
		}
		if port < 1 || port > 65535 {
			t.Fatalf("port %d", port)
		}
		if a, err := netip.ParseAddr(ask); err == nil {
			if a.String() != ask || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() {
				t.Fatalf("%q is not canonical", ask)
			}
			if in, err := netip.ParseAddr(host); err != nil || in.Unmap() != a {
				t.Fatalf("%q became the address %s", host, a)
			}
		} else if !strings.EqualFold(strings.TrimSuffix(ask, "."), strings.TrimSuffix(host, ".")) || strings.ContainsAny(ask, " :%/[]\x00@") {
			t.Fatalf("%q became %q", host, ask)
		}
		// Asked for again, what was granted is granted, and stays the same.
		if again, ok := r.PermitDial(ask, port); !ok || again != ask {
			t.Fatalf("%q was granted for %q, and is now %q, %t", ask, host, again, ok)
		}
	})
}

// FuzzSSHRules_Validate: what is valid is read without panic, and never grants by accident.
func FuzzSSHRules_Validate(f *testing.F) {
	f.Add("localhost:8080", "127.0.0.1:0")
	f.Add("[::1]:22", "*:80")
	f.Add("unix:/tmp/x", "unix:/tmp/x")
	f.Fuzz(func(t *testing.T, listen, host string) {
		r := listenRules(listen)
		if r.PermitListen(host, 8080) && (r.Validate() != nil || !strings.HasSuffix(listen, ":8080")) {
			t.Fatalf("%q grants %q:8080", listen, host)
		}
		if r.PermitListenSocket(host) && (r.Validate() != nil || listen != "unix:"+host) {
			t.Fatalf("%q grants the socket %q", listen, host)
		}
	})
}
