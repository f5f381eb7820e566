package access_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"weft/access"
	"weft/access/netexpr"
)

// Each mention of a list was read and sorted anew and kept: one rule of 16 KiB that names a list of 5,000 values as
// often as it can took gigabytes, in control and in every gateway, for every change.
func TestCompile_ManyMentionsOfAList_regression(t *testing.T) {
	l := access.List{ID: "00000000-0000-0000-0000-000000000001", Name: "l"}
	for i := range 5000 {
		l.Items = append(l.Items, netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}).String())
	}
	traffic := strings.TrimSuffix(strings.Repeat("net.dst.ip in $"+l.ID+" or ", 250), " or ")
	in := access.Input{Lists: []access.List{l}}
	for i := range 40 {
		in.NetworkRules = append(in.NetworkRules, access.NetworkRule{ID: fmt.Sprint(i), Name: "r", Precedence: i, Action: access.ActionBlock, Traffic: traffic})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	s, err := access.Compile(in)
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	if err != nil || len(s.Problems()) > 0 {
		t.Fatal(err, s.Problems())
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 || took > 5*time.Second {
		t.Errorf("10,000 mentions took %d MiB and %s", n>>20, took)
	}
	if bad, err := access.ValidateNetworkRules(in.NetworkRules, nil); err == nil || bad.ID != "0" {
		t.Errorf("a list that is not there: %v, %v", bad, err)
	}
}

// A rule that blocks a range of IPv4 addresses written as IPv4-mapped ones never matched: addresses are compared unmapped.
func TestNetworkRule_MappedRanges_regression(t *testing.T) {
	lists := netexpr.Lists{"l": {"::ffff:10.0.0.0/104"}}
	f := &netexpr.Flow{Destination: netip.MustParseAddrPort("10.1.2.3:22")}
	for _, src := range []string{
		"net.dst.ip in {::ffff:10.0.0.0/104}", "net.dst.ip == ::ffff:10.0.0.0/104", "net.dst.ip in {::ffff:10.0.0.1..::ffff:10.9.9.9}",
		"net.dst.ip in $l", "net.dst.ip in {::ffff:0:0/96}",
	} {
		e, err := netexpr.Parse(src)
		if err != nil {
			continue // refused is as good
		}
		p, err := e.Compile(lists)
		if err != nil {
			t.Fatal(src, err)
		}
		if got := p.Eval(f); got != netexpr.True {
			t.Errorf("%s: %v; want True", src, got)
		}
	}
}
