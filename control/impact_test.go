package control_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/api"
	"weft/control/controltest"
	"weft/control/store"
)

// office is an account in which a@b.c reaches web (SSH as root and admin, and HTTP) and b@b.c reaches web by HTTP alone.
type office struct {
	s                           *controltest.Server
	c                           *rawClient
	vnet, tunnel, route, target string
	ssh, http                   api.Application
}

func newOffice(t *testing.T) *office {
	t.Helper()
	s := controltest.New(t)
	o := &office{s: s, c: newRawClient(t, s), vnet: s.VNET("office")}
	o.tunnel, _ = s.Tunnel("office")
	o.route = s.Route("10.0.0.0/16", o.vnet, o.tunnel)
	o.target = s.Target("web", "10.0.0.9", o.vnet)
	o.ssh = s.App("ssh", "web", "SSH", 22, "a@b.c", "root", "admin")
	o.http = s.App("http", "web", "HTTP", 80, "")
	s.Enrol("a@b.c", "laptop")
	s.Enrol("a@b.c", "phone")
	s.Enrol("b@b.c", "laptop")
	return o
}

func (o *office) ask(t *testing.T, change, id, more string) api.Impact {
	t.Helper()
	var out api.Impact
	o.s.Call(http.MethodGet, api.PathImpact+"?change="+change+"&id="+id+more, nil, &out)
	return out
}

// lines are rows in short.
func lines(r api.ImpactRows) (out []string) {
	for _, x := range r.Rows {
		out = append(out, fmt.Sprintf("%s %s:%d %s %s", x.Email, x.Hostname, x.Port, x.Protocol, x.Login))
	}
	return out
}

var allOfWeb = []string{"a@b.c web:22 SSH admin", "a@b.c web:22 SSH root", "a@b.c web:80 HTTP ", "b@b.c web:80 HTTP "}

func TestImpact(t *testing.T) {
	o := newOffice(t)
	other, _ := o.s.Tunnel("other")
	o.s.App("db", "db", "SSH", 22, "b@b.c", "postgres")
	policy := o.ssh.Policies[0].ID
	free := o.s.VNET("free")
	for _, tc := range []struct {
		name, change, id, more string
		lost, gained           []string
		losing, gaining        int
		rerouted               int
	}{
		{"a target renamed out of its applications and into another", api.ChangeTargetRename, o.target, "&to=db", allOfWeb, []string{"b@b.c db:22 SSH postgres"}, 2, 1, 0},
		{"a target renamed in case alone", api.ChangeTargetRename, o.target, "&to=WEB", nil, nil, 0, 0, 0},
		{"a target deleted", api.ChangeTargetDelete, o.target, "", allOfWeb, nil, 2, 0, 0},
		{"a network renamed", api.ChangeNetworkRename, o.vnet, "&to=head-office", nil, nil, 0, 0, 0},
		{"a network deleted that nothing is in", api.ChangeNetworkDelete, free, "", nil, nil, 0, 0, 0},
		{"a route deleted", api.ChangeRouteDelete, o.route, "", allOfWeb, nil, 2, 0, 0},
		{"a route moved", api.ChangeRouteMove, o.route, "&to=" + other, nil, nil, 0, 0, 1},
		{"a tunnel renamed", api.ChangeTunnelRename, o.tunnel, "&to=x", nil, nil, 0, 0, 0},
		{"a tunnel deleted with its routes", api.ChangeTunnelDelete, o.tunnel, "&cascade=true", allOfWeb, nil, 2, 0, 0},
		{"an application deleted", api.ChangeApplicationDelete, o.ssh.ID, "", allOfWeb[:2], nil, 1, 0, 0},
		{"a policy deleted", api.ChangePolicyDelete, policy, "&application=" + o.ssh.ID, allOfWeb[:2], nil, 1, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, err := o.s.Control.RevisionForTest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := o.ask(t, tc.change, tc.id, tc.more)
			if d := cmp.Diff(tc.lost, lines(got.Lost)); d != "" {
				t.Errorf("lost (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.gained, lines(got.Gained)); d != "" {
				t.Errorf("gained (-want +got):\n%s", d)
			}
			if got.UsersLosing != tc.losing || got.UsersGaining != tc.gaining || got.Rerouted != tc.rerouted || !got.Complete || got.Note != "" ||
				got.Lost.Count != len(tc.lost) || got.Gained.Count != len(tc.gained) || got.Change != tc.change {
				t.Errorf("got %+v", got)
			}
			if after, err := o.s.Control.RevisionForTest(t.Context()); err != nil || after != before {
				t.Errorf("the revision went from %d to %d: %v", before, after, err)
			}
		})
	}
}

func TestImpact_IsRefusedAsTheChangeWouldBe(t *testing.T) {
	o := newOffice(t)
	for _, tc := range []struct {
		name, query, says string
		status            int
	}{
		{"a network in use", "change=virtual_network.delete&id=" + o.vnet, "route 10.0.0.0/16", 400},
		{"the same names the target", "change=virtual_network.delete&id=" + o.vnet, "target web", 400},
		{"a tunnel in use", "change=tunnel.delete&id=" + o.tunnel, "10.0.0.0/16", 400},
		{"a bad name", "change=target.rename&id=" + o.target + "&to=-", "hostname", 400},
		{"an unknown target", "change=target.delete&id=no", "no target", 404},
		{"an unknown policy", "change=policy.delete&id=no&application=" + o.ssh.ID, "no policy", 404},
		{"an unknown change", "change=target.explode&id=x", "must be one of target.rename", 400},
		{"no change", "id=x", "must be one of", 400},
		{"nothing", "", "id", 400},
		{"no name", "change=target.rename&id=" + o.target, "to is required", 400},
		{"a flag that is none", "change=tunnel.delete&id=x&cascade=maybe", "cascade", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := o.c.admin(t, "GET", api.PathImpact+"?"+tc.query, "")
			if r.status != tc.status || !strings.Contains(r.env.Errors[0].Message, tc.says) {
				t.Errorf("status %d: %s", r.status, r.raw)
			}
		})
	}
	reader := newToken(t, o.s, store.TokenFields{Name: "reader", Permissions: []string{"Zero Trust Write"}})
	if r := o.c.do(t, "GET", api.PathImpact+"?change=target.delete&id="+o.target, reader, ""); r.status != 403 {
		t.Errorf("another permission: %s", r.raw)
	}
}

// The audit event of a change says what it did.
func TestImpact_IsAudited(t *testing.T) {
	o := newOffice(t)
	last := func() (e store.AuditEvent, i *api.Impact) {
		t.Helper()
		events, err := o.s.Control.AuditForTest(t.Context(), 1)
		if err != nil || len(events) != 1 {
			t.Fatalf("%d events: %v", len(events), err)
		}
		if events[0].Impact != nil {
			i = &api.Impact{}
			if err := json.Unmarshal(events[0].Impact, i); err != nil {
				t.Fatal(err)
			}
		}
		return events[0], i
	}
	settled(t, o.s)
	r := o.c.good(t, "PUT", "~/infrastructure/targets/"+o.target, `{"hostname":"renamed","ip":{"ipv4":{"ip_addr":"10.0.0.9","virtual_network_id":"`+o.vnet+`"}}}`)
	if len(r.env.Messages) != 0 {
		t.Errorf("messages: %s", r.raw)
	}
	e, i := last()
	if i == nil || e.Action != "target.update" || i.Change != "target.update" || i.Lost.Count != 4 || i.UsersLosing != 2 || !i.Complete {
		t.Errorf("event %s, impact %+v", e.Action, i)
	}
	settled(t, o.s)
	o.c.good(t, "PUT", "~/infrastructure/targets/"+o.target, `{"hostname":"web","ip":{"ipv4":{"ip_addr":"10.0.0.9","virtual_network_id":"`+o.vnet+`"}}}`)
	if _, i = last(); i == nil || i.Gained.Count != 4 || i.UsersGaining != 2 {
		t.Errorf("impact %+v", i)
	}
	settled(t, o.s)
	o.c.good(t, "DELETE", "~/cfd_tunnel/"+o.tunnel+"?cascade=true", "")
	if e, i = last(); i == nil || e.Action != "tunnel.delete" || i.Lost.Count != 4 || i.Change != "route.delete tunnel.delete" {
		t.Errorf("event %s, impact %+v", e.Action, i)
	}
	o.s.Target("new", "10.0.0.10", o.vnet)
	if e, i = last(); i != nil {
		t.Errorf("event %s has the impact %+v", e.Action, i)
	}
}

// What is too much to compare while others wait is said to be so.
func TestImpact_IsBounded(t *testing.T) {
	o := newOffice(t)
	var all []api.TargetWrite
	for n := range 600 {
		all = append(all, api.TargetWrite{Hostname: "web", IP: api.TargetIP{IPv4: &api.TargetAddress{Addr: fmt.Sprintf("10.0.%d.%d", 1+n/200, 1+n%200), VNET: o.vnet}}})
	}
	o.s.Call(http.MethodPut, o.s.Account("/infrastructure/targets/batch"), all, nil)
	got := o.ask(t, api.ChangeRouteDelete, o.route, "")
	if got.Lost.Count != 601*4 || len(got.Lost.Rows) != 200 || !got.Complete {
		t.Errorf("asked: %d lost, %d named, complete %t, note %q", got.Lost.Count, len(got.Lost.Rows), got.Complete, got.Note)
	}
	settled(t, o.s)
	o.c.good(t, "DELETE", "~/teamnet/routes/"+o.route, "")
	events, err := o.s.Control.AuditForTest(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var audited api.Impact
	if err := json.Unmarshal(events[0].Impact, &audited); err != nil {
		t.Fatal(err)
	}
	if audited.Complete || !strings.Contains(audited.Note, "101 more targets") || len(audited.Lost.Rows) != 20 || audited.Lost.Count != 500*4 {
		t.Errorf("audited: %d lost, %d named, complete %t, note %q", audited.Lost.Count, len(audited.Lost.Rows), audited.Complete, audited.Note)
	}
}

// settled waits until the view that decides has caught up with the store.
func settled(t *testing.T, s *controltest.Server) {
	t.Helper()
	if err := s.Control.SettleForTest(t.Context()); err != nil {
		t.Fatal(err)
	}
}
