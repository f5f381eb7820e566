package access_test

import (
	"fmt"
	"testing"
	"time"

	"weft/access"
)

// Groups that refer to every group of the next level were asked once for each way that leads to them: with the 300 groups
// that an account may have, 8 deep, one decision would have taken days, in every gateway.
func TestEvaluate_GroupsOfGroups_regression(t *testing.T) {
	const wide, deep = 37, access.MaxGroupDepth
	in := demo()
	id := func(level, i int) string { return fmt.Sprintf("g-%d-%d", level, i) }
	for level := range deep {
		for i := range wide {
			g := access.RuleGroup{ID: id(level, i), Name: id(level, i), Include: []access.Rule{access.EmailRule("nobody@company.com")}}
			for j := 0; level+1 < deep && j < wide; j++ {
				g.Include = append(g.Include, access.GroupRule(id(level+1, j)))
			}
			in.Groups = append(in.Groups, g)
		}
	}
	p := &in.Applications[0].Policies[0]
	p.Exclude = append(p.Exclude, access.GroupRule(id(0, 0)))
	s := compile(t, in)
	q := benchQuery(1)
	q = access.Query{Identity: q.Identity, Device: q.Device, VNET: netA, Destination: seedDestination, Transport: q.Transport}
	done := make(chan access.Decision, 1)
	go func() { done <- access.Evaluate(s, q) }()
	select {
	case d := <-done:
		if !d.Allow {
			t.Errorf("denied: %q", d.Reason)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("one decision takes more than 10 s")
	}
}
