package targets_test

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/targets"
	"weft/vnet"
)

// naive is Filter.Match once more, in the plainest way: every filter that is given must have a value that fits.
func naive(f *targets.Filter, e *targets.Entry) bool {
	anyOf := func(given int, fits func(i int) bool) bool {
		for i := range given {
			if fits(i) {
				return true
			}
		}
		return given == 0
	}
	facts := map[string][]string{"hostname": {strings.ToLower(e.Target.Hostname)}}
	for k, v := range e.Target.Tags {
		facts[k] = append(facts[k], v)
	}
	for k, vs := range f.Attributes {
		if !anyOf(len(vs), func(i int) bool {
			for _, fact := range facts[k] {
				if fact == vs[i] || k == "hostname" && fact == strings.ToLower(vs[i]) {
					return true
				}
			}
			return k == "port" && vs[i] == fmt.Sprint(e.Port) || k == "protocol" && strings.ToUpper(vs[i]) == string(e.Protocol)
		}) {
			return false
		}
	}
	var addrs []targets.Address
	for _, a := range []*targets.Address{e.Target.IPv4, e.Target.IPv6} {
		if a != nil {
			addrs = append(addrs, *a)
		}
	}
	anyAddr := func(fits func(targets.Address) bool) bool {
		for _, a := range addrs {
			if fits(a) {
				return true
			}
		}
		return false
	}
	return anyOf(len(f.Usernames), func(i int) bool {
		return strings.Contains(","+strings.Join(e.Usernames, ",")+",", ","+f.Usernames[i]+",")
	}) &&
		anyOf(len(f.Protocols), func(i int) bool { return f.Protocols[i] == e.Protocol }) &&
		anyOf(len(f.Ports), func(i int) bool { return f.Ports[i] == e.Port }) &&
		anyOf(len(f.IDs), func(i int) bool { return f.IDs[i] == e.Target.ID }) &&
		anyOf(len(f.VNETs), func(i int) bool { return anyAddr(func(a targets.Address) bool { return a.VNET == f.VNETs[i] }) }) &&
		anyOf(len(f.Prefixes), func(i int) bool {
			return anyAddr(func(a targets.Address) bool {
				p, err := a.Addr.Prefix(f.Prefixes[i].Bits())
				return err == nil && p == f.Prefixes[i]
			})
		}) &&
		anyOf(len(f.Hostnames), func(i int) bool { return matches(f.Hostnames[i].String(), e.Target.Hostname) })
}

// matches is a glob by the standard library, whose sets are negated by ^ only.
func matches(pattern, s string) bool {
	ok, err := path.Match(strings.ReplaceAll(strings.ToLower(pattern), "[!", "[^"), strings.ToLower(s))
	return err == nil && ok
}

// Every combination of filters selects what the naive one selects.
func TestFilter_EveryCombination(t *testing.T) {
	hosts := []string{"web-1", "Web-2", "db-1", "cache.eu"}
	patterns := []string{"*", "web-*", "WEB-?", "[wd]*-1", "[!w]*", "*.eu", "db-1", "w*b*1"}
	nets := []vnet.ID{"a", "b", "c"}
	ips := []string{"10.0.0.1", "10.0.1.1", "192.168.0.1", "fd00::1", "fd00:1::1"}
	prefixes := []string{"10.0.0.0/8", "10.0.0.1", "10.0.1.0/24", "0.0.0.0/0", "fd00::/16", "::/0", "fd00::1"}
	someOf := func(t *rapid.T, name string, from []string) []string {
		return rapid.SliceOfN(rapid.SampledFrom(from), 0, 2).Draw(t, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		e := targets.Entry{
			Target: targets.Target{
				ID: targets.ID(rapid.SampledFrom([]string{"t1", "t2"}).Draw(t, "id")), Hostname: rapid.SampledFrom(hosts).Draw(t, "hostname"),
				Tags: rapid.MapOf(rapid.SampledFrom([]string{"env", "port", "protocol"}), rapid.SampledFrom([]string{"prod", "22", "ssh"})).Draw(t, "tags"),
			},
			Protocol: rapid.SampledFrom([]targets.Protocol{targets.SSH, targets.RDP}).Draw(t, "protocol"),
			Port:     rapid.SampledFrom([]uint16{22, 3389}).Draw(t, "port"), Usernames: someOf(t, "usernames", []string{"root", "alice"}),
		}
		for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(ips), 1, 2, func(s string) bool { return strings.Contains(s, ":") }).Draw(t, "ips") {
			a := &targets.Address{Addr: netip.MustParseAddr(s), VNET: rapid.SampledFrom(nets).Draw(t, "net")}
			if a.Addr.Is4() {
				e.Target.IPv4 = a
			} else {
				e.Target.IPv6 = a
			}
		}
		f := targets.Filter{Usernames: someOf(t, "by username", []string{"root", "alice", "bob"})}
		for _, k := range someOf(t, "by attribute", []string{"hostname", "env", "port", "protocol", "none"}) {
			if f.Attributes == nil {
				f.Attributes = map[string][]string{}
			}
			f.Attributes[k] = someOf(t, "values of "+k, []string{"WEB-1", "db-1", "prod", "22", "SSH", "ssh"})
		}
		for _, s := range someOf(t, "by hostname", patterns) {
			g, err := targets.ParseGlob(s)
			if err != nil {
				t.Fatal(err)
			}
			f.Hostnames = append(f.Hostnames, g)
		}
		for _, s := range someOf(t, "by ip", prefixes) {
			p, err := targets.ParsePrefix(s)
			if err != nil {
				t.Fatal(err)
			}
			f.Prefixes = append(f.Prefixes, p)
		}
		for _, s := range someOf(t, "by vnet", []string{"a", "b", "d"}) {
			f.VNETs = append(f.VNETs, vnet.ID(s))
		}
		for _, s := range someOf(t, "by id", []string{"t1", "t3"}) {
			f.IDs = append(f.IDs, targets.ID(s))
		}
		f.Protocols = rapid.SliceOfN(rapid.SampledFrom([]targets.Protocol{targets.SSH, targets.TCP}), 0, 2).Draw(t, "by protocol")
		f.Ports = rapid.SliceOfN(rapid.SampledFrom([]uint16{22, 80}), 0, 2).Draw(t, "by port")
		if f.Empty() && !f.Match(&e) {
			t.Fatalf("an empty filter does not select %+v", e)
		}
		if got, want := f.Match(&e), naive(&f, &e); got != want {
			t.Fatalf("Match is %v; the naive filter says %v\nfilter %+v\nentry %+v", got, want, f, e)
		}
	})
}

func FuzzGlob(f *testing.F) {
	for _, s := range []string{"*", "web-?", "[a-c]*", "[!a]b", "[^-]", "[a-]", "[]", "[", "[z-a]", "**a**", "a*b*c*d", "[A-z]", "\u212a", "a\x00"} {
		f.Add(s, "web-1")
	}
	f.Add(strings.Repeat("a*", 100)+"b", strings.Repeat("a", 253))
	f.Fuzz(func(t *testing.T, pattern, s string) {
		g, err := targets.ParseGlob(pattern)
		if err != nil {
			return
		}
		if targets.ValidateHostname(s) != nil || strings.ContainsAny(s, "/") {
			return
		}
		if !strings.Contains(pattern, "[") { // of sets the standard library has other notions: escapes, and '-' at an end
			if got, want := g.Match(s), matches(pattern, s); got != want {
				t.Fatalf("%q matches %q: %v; path.Match says %v", pattern, s, got, want)
			}
		}
		if g.Match(s) != g.Match(strings.ToUpper(s)) {
			t.Fatalf("%q minds the case of %q", pattern, s)
		}
	})
}

func TestParseGlob(t *testing.T) {
	for _, tt := range []struct {
		name, pattern, says string
	}{
		{"empty", "", "must not be empty"},
		{"too long", strings.Repeat("a", 254), "no more than 253"},
		{"a set without end", "web-[12", "lacks the ']'"},
		{"an empty set", "web-[]", "empty set"},
		{"a negated empty set", "web-[!]", "empty set"},
		{"a range backwards", "[9-0]", "ranges such as [a-z0-9]"},
		{"another character in a set", "[a_b]", "ranges such as [a-z0-9]"},
		{"a blank", "web 1", "may contain only"},
		{"a brace", "web-{1,2}", "may contain only"},
		{"not ASCII", "b\u00fccher*", "may contain only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := targets.ParseGlob(tt.pattern)
			says(t, err, "invalid", "/hostname", tt.says)
		})
	}
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"web-1", "WEB-1", true},
		{"WEB-*", "web-", true},
		{"web-?", "web-", false},
		{"*.eu", "a.b.eu", true},
		{"web-[0-9]", "web-5", true},
		{"web-[!0-9]", "web-5", false},
		{"web-[A-C]", "web-b", true},
		{"[^w]*", "web", false},
		{"*1*2*3", "a1b2c3", true},
		{"*1*2*3", "a1b2c", false},
		{"[a-]", "-", true},
	} {
		g, err := targets.ParseGlob(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if g.Match(tt.s) != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.s, !tt.want)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	for s, want := range map[string]string{"10.1.2.3": "10.1.2.3/32", "10.1.2.3/8": "10.0.0.0/8", "fd00::1": "fd00::1/128", "fd00::1/16": "fd00::/16"} {
		p, err := targets.ParsePrefix(s)
		if err != nil || p.String() != want {
			t.Errorf("ParsePrefix(%q) = %s, %v; want %s", s, p, err, want)
		}
	}
	for s, text := range map[string]string{
		"": "neither an IP address nor a prefix", "10.0.0": "neither", "10.0.0.0/33": "neither",
		"::ffff:10.0.0.1": "IPv4-mapped", "fe80::1%eth0": "has a zone",
	} {
		_, err := targets.ParsePrefix(s)
		says(t, err, "invalid", "/ip", text)
	}
}
