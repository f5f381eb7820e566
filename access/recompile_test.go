package access_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weft/access"
	"weft/targets"
)

// edit returns in with some targets and applications from other: in place of those with the same ID, more, or less. What is
// not edited is the same slice, or holds the same slices.
func edit(t *rapid.T, in, other access.Input) access.Input {
	out := in
	out.Revision++
	out.Networks = other.Networks
	if pick(t, "edit targets", true, true, false) {
		byID := make(map[targets.ID]targets.Target)
		for _, x := range in.Targets {
			if !seldom(t, "drop target") {
				byID[x.ID] = x
			}
		}
		for _, x := range other.Targets {
			if pick(t, "put target", true, false) {
				x.Hostname = pick(t, "hostname", hosts...)
				byID[x.ID] = x
			}
		}
		out.Targets = nil
		for _, id := range slices.Sorted(maps.Keys(byID)) {
			out.Targets = append(out.Targets, byID[id])
		}
	}
	if pick(t, "edit applications", true, false, false) {
		byID := make(map[string]access.Application)
		for _, a := range in.Applications {
			if !seldom(t, "drop application") {
				byID[a.ID] = a
			}
		}
		for _, a := range other.Applications {
			if pick(t, "put application", true, false) {
				byID[a.ID] = a
			}
		}
		out.Applications = slices.Collect(maps.Values(byID))
	}
	if pick(t, "edit lists", true, false, false) {
		out.Lists = nil
		for i, l := range in.Lists {
			if pick(t, "edit list", true, false, false) && i < len(other.Lists) {
				l = other.Lists[i] // perhaps another ID, so that one comes or goes
			}
			out.Lists = append(out.Lists, l)
		}
	}
	if pick(t, "edit network rules", true, false, false) {
		out.NetworkRules = drawNetworkRules(t)
	}
	if seldom(t, "edit groups") {
		out.Groups = other.Groups
	}
	return out
}

// ruledAnswer is an answer with the network rule.
func ruledAnswer(d access.Decision) string {
	rule := ""
	if d.NetworkRule != nil {
		rule = d.NetworkRule.ID
	}
	return fmt.Sprintf("%+v by network rule %q", asAnswer(d), rule)
}

// drawNetworkRules draws rules of which some name a list that may be there.
func drawNetworkRules(t *rapid.T) []access.NetworkRule {
	var rules []access.NetworkRule
	for i := range rapid.IntRange(0, 2).Draw(t, "network rules") {
		rules = append(rules, access.NetworkRule{
			ID: fmt.Sprintf("n%d", i), Name: "rule", Precedence: i, Action: pick(t, "action", access.ActionAllow, access.ActionBlock),
			Traffic:  pick(t, "traffic", "net.src.ip in $places", "net.src.ip in {192.0.2.0/24}", "net.dst.port == 22", ""),
			Identity: pick(t, "identity", "", "", `identity.email in $people`, `identity.email == "jdoe@company.com"`),
		})
	}
	return rules
}

// A snapshot that is made from the one before answers as one that is made from nothing.
func TestCompileAfter_AgreesWithCompile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.NetworkRules = drawNetworkRules(t)
		fresh := func() *access.Snapshot { // with the problems of network rules that name a list that is not there
			s, err := access.Compile(in)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := fresh()
		for range 4 {
			old, before := s, drawQuery(t, in)
			was := access.Evaluate(old, before)
			in = edit(t, in, drawInput(t))
			fresh := fresh()
			var err error
			if s, err = access.CompileAfter(s, in); err != nil {
				t.Fatal(err)
			}
			if s.Revision() != in.Revision {
				t.Fatalf("revision %d, want %d", s.Revision(), in.Revision)
			}
			if diff := cmp.Diff(fmt.Sprint(fresh.Problems()), fmt.Sprint(s.Problems())); diff != "" {
				t.Fatalf("problems compiled anew (-) and after another (+) differ:\n%s", diff)
			}
			for range 10 {
				q := drawQuery(t, in)
				if diff := cmp.Diff(ruledAnswer(access.Evaluate(fresh, q)), ruledAnswer(access.Evaluate(s, q))); diff != "" {
					t.Fatalf("compiled anew (-) and after another (+) differ:\n%s", diff)
				}
			}
			id, dev := drawIdentity(t), drawDevice(t)
			if diff := cmp.Diff(access.Entries(fresh, id, dev), access.Entries(s, id, dev), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Fatalf("entries compiled anew (-) and after another (+) differ:\n%s", diff)
			}
			if diff := cmp.Diff(asAnswer(was), asAnswer(access.Evaluate(old, before))); diff != "" {
				t.Fatalf("the old snapshot answers otherwise now:\n%s", diff)
			}
		}
	})
}

// Addresses may be exchanged, places be used again, and a conflict is the same error as Compile's.
func TestCompileAfter_Addresses(t *testing.T) {
	a, b, c := target("a", "a", "10.0.0.1", netA), target("b", "b", "10.0.0.2", netA), target("c", "c", "10.0.0.3", netA)
	s, err := access.Compile(access.Input{Targets: []targets.Target{a, b, c}})
	if err != nil {
		t.Fatal(err)
	}
	swapped := []targets.Target{a, b}
	swapped[0].IPv4, swapped[1].IPv4 = b.IPv4, a.IPv4
	d := target("d", "d", "10.0.0.3", netA)
	s, err = access.CompileAfter(s, access.Input{Revision: 2, Targets: append(slices.Clone(swapped), d)})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"10.0.0.1": "b", "10.0.0.2": "a", "10.0.0.3": "d"} {
		q := access.Query{Identity: user("x@y.example"), Device: device(), VNET: netA, Destination: netip.MustParseAddrPort(address + ":22"), Transport: targets.TransportTCP}
		if got := access.Evaluate(s, q); got.Target == nil || string(got.Target.ID) != want {
			t.Errorf("%s: %+v, want %s", address, got, want)
		}
	}
	bad := []targets.Target{a, b, d, target("e", "e", "10.0.0.3", netA)}
	_, want := access.Compile(access.Input{Targets: bad})
	if _, err := access.CompileAfter(s, access.Input{Targets: bad}); err == nil || fmt.Sprint(want) != "compile targets: "+fmt.Sprint(err) && fmt.Sprint(want) != fmt.Sprint(err) {
		t.Errorf("a conflict is %v, want %v", err, want)
	}
}

// BenchmarkCompileAfter measures the snapshot after one change, with the ratio to one made from nothing.
func BenchmarkCompileAfter(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		in := benchInput(spread, n)
		s, err := access.Compile(in)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("targets=%d", n), func(b *testing.B) {
			for b.Loop() {
				in.Targets = slices.Clone(in.Targets)
				in.Targets[n/2].Hostname = "host-07"
				in.Targets[n/2].ModifiedAt = in.Targets[n/2].ModifiedAt.Add(1)
				if s, err = access.CompileAfter(s, in); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("targets=%d/list", n), func(b *testing.B) {
			in := in
			in.Lists = []access.List{{ID: "people", Type: access.ListEmail, Items: make([]string, 5000)}}
			for i := range in.Lists[0].Items {
				in.Lists[0].Items[i] = fmt.Sprintf("listed%d@company.com", i)
			}
			in.Applications = slices.Clone(in.Applications)
			in.Applications[0].Policies = slices.Clone(in.Applications[0].Policies)
			in.Applications[0].Policies[0].Exclude = []access.Rule{mustRule(`{"email_list":{"id":"people"}}`)}
			s, err := access.Compile(in)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				in.Lists = slices.Clone(in.Lists)
				in.Lists[0].Items = slices.Clone(in.Lists[0].Items)
				in.Lists[0].Items[7] += "x"
				if s, err = access.CompileAfter(s, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
