package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// OpenTwo opens one empty account twice, as two processes do.
type OpenTwo func(tb testing.TB, now func() time.Time) (one, two *store.Store)

type writer = func(tx *store.Tx) error

// rule is something of which two writers cannot both have their way. Both make what they write new for each round; lost
// are the kinds of error that the loser may get.
type rule struct {
	name string
	lost []kind.Kind
	both func(t *testing.T, f *fixture, round int) (writer, writer)
}

const raceRounds = 6

// Race has two writers, each in a store of its own, race for everything that only one can have: exactly one gets it, the
// other the documented error, and of what the loser wrote nothing is left.
func Race(t *testing.T, open OpenTwo) {
	t.Helper()
	clock := NewClock()
	one, two := open(t, clock.Now)
	f := &fixture{Store: one, clock: clock, ctx: t.Context()}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for round := range raceRounds {
				first, second := r.both(t, f, round)
				raceOnce(t, f, two, r.lost, first, second)
			}
		})
	}
	t.Run("default network", func(t *testing.T) { defaultsRace(t, f, two) })
	t.Run("first devices of one user", func(t *testing.T) { firstDevicesRace(t, f, two) })
}

func raceOnce(t *testing.T, f *fixture, two *store.Store, lost []kind.Kind, first, second writer) {
	t.Helper()
	before := f.revision(t)
	errs := race(f, two, first, second)
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !slices.Contains(lost, kind.Of(err)):
			t.Errorf("the loser gets %v of kind %q, want one of %q", err, kind.Of(err), lost)
		}
	}
	if won != 1 {
		t.Fatalf("%d of two won: %v", won, errs)
	}
	if now := f.revision(t); now != before+1 {
		t.Errorf("the revision went from %d to %d: the loser has left something", before, now)
	}
	f.read(t, func(r *store.Reader) error {
		events, err := r.AuditEvents(f.ctx, 50)
		for _, e := range events {
			if e.Revision > before && e.Actor == loser(errs) {
				t.Errorf("the loser has left the event %s of %s", e.Action, e.ObjectID)
			}
		}
		return err
	})
}

func loser(errs [2]error) store.Actor {
	if errs[0] != nil {
		return racers[0]
	}
	return racers[1]
}

var racers = [2]store.Actor{{Type: "token", ID: "one"}, {Type: "token", ID: "two"}}

// race lets both write at the same time.
func race(f *fixture, two *store.Store, first, second writer) (errs [2]error) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i, s := range []*store.Store{f.Store, two} {
		wg.Go(func() {
			<-start
			errs[i] = s.Update(f.ctx, racers[i], []writer{first, second}[i])
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func (f *fixture) revision(t *testing.T) (rev uint64) {
	t.Helper()
	f.read(t, func(r *store.Reader) (err error) {
		rev, err = r.Revision(f.ctx)
		return err
	})
	return rev
}

// same is a race of one write with itself, in two spellings.
func same(write func(f *fixture, name string) writer) func(*testing.T, *fixture, int) (writer, writer) {
	return func(_ *testing.T, f *fixture, round int) (writer, writer) {
		name := fmt.Sprintf("Name-%d", round)
		return write(f, name), write(f, strings.ToUpper(name))
	}
}

var (
	conflict          = []kind.Kind{kind.Conflict}
	invalid           = []kind.Kind{kind.Invalid}
	conflictOrInvalid = []kind.Kind{kind.Conflict, kind.Invalid}
)

func rules() []rule {
	return slices.Concat(networkRaces(), namesRaces(), policyRaces(), secretRaces())
}

func address(round int) string { return fmt.Sprintf("10.9.0.%d", round+1) }

func createTarget(f *fixture, w api.TargetWrite) writer {
	return func(tx *store.Tx) error {
		_, err := tx.CreateTarget(f.ctx, "", w)
		return err
	}
}

func networkRaces() []rule {
	return []rule{
		{"address of a target", conflict, func(_ *testing.T, f *fixture, round int) (writer, writer) {
			return createTarget(f, api.TargetWrite{Hostname: "a", IP: v4(address(round), "")}),
				createTarget(f, api.TargetWrite{Hostname: "b", IP: v4(address(round), "")})
		}},
		{"address that a target moves to", conflict, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			move := func(from string) writer {
				x := f.target(t, "m", from, "")
				return func(tx *store.Tx) error {
					_, err := tx.ReplaceTarget(f.ctx, x.ID, api.TargetWrite{Hostname: "m", IP: v4(fmt.Sprintf("10.8.9.%d", round), "")})
					return err
				}
			}
			return move(fmt.Sprintf("10.8.1.%d", round)), move(fmt.Sprintf("10.8.2.%d", round))
		}},
		{"route", conflict, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			route := func(tunnel string) writer {
				return func(tx *store.Tx) error {
					_, err := tx.CreateRoute(f.ctx, store.RouteFields{Network: fmt.Sprintf("10.7.%d.0/24", round), TunnelID: tunnel})
					return err
				}
			}
			return route(f.namedTunnel(t, "route").ID), route(f.namedTunnel(t, "route").ID)
		}},
		{"network deleted and used", conflictOrInvalid, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			n := f.network(t, fmt.Sprintf("going-%d", round))
			return func(tx *store.Tx) error {
				_, err := tx.DeleteNetwork(f.ctx, n.ID)
				return err
			}, createTarget(f, api.TargetWrite{Hostname: "a", IP: v4("10.0.0.1", n.ID)})
		}},
		{"tunnel deleted and routed to", conflictOrInvalid, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			x := f.namedTunnel(t, "gone")
			return func(tx *store.Tx) error {
					_, err := tx.DeleteTunnel(f.ctx, x.ID, false)
					return err
				}, func(tx *store.Tx) error {
					_, err := tx.CreateRoute(f.ctx, store.RouteFields{Network: fmt.Sprintf("10.6.%d.0/24", round), TunnelID: x.ID})
					return err
				}
		}},
	}
}

// namedTunnel makes a tunnel with a name that nobody else has.
func (f *fixture) namedTunnel(t *testing.T, name string) api.Tunnel {
	t.Helper()
	var x api.Tunnel
	f.write(t, func(tx *store.Tx) (err error) {
		x, err = tx.CreateTunnel(f.ctx, name+" "+f.clock.Now().Format("15:04:05.000000"), "local", nil)
		return err
	})
	return x
}

func namesRaces() []rule {
	return []rule{
		{"name of a network", conflict, same(func(f *fixture, name string) writer {
			return func(tx *store.Tx) error {
				_, err := tx.CreateNetwork(f.ctx, store.NetworkFields{Name: name})
				return err
			}
		})},
		{"name that a network takes", conflict, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			rename := func(from string) writer {
				n, to := f.network(t, from), fmt.Sprintf("renamed-%d", round)
				return func(tx *store.Tx) error {
					_, err := tx.UpdateNetwork(f.ctx, n.ID, &to, nil, nil)
					return err
				}
			}
			return rename(fmt.Sprintf("r-1-%d", round)), rename(fmt.Sprintf("r-2-%d", round))
		}},
		{"name of a tunnel", conflict, same(func(f *fixture, name string) writer {
			return func(tx *store.Tx) error {
				_, err := tx.CreateTunnel(f.ctx, name, "local", nil)
				return err
			}
		})},
		{"name that a tunnel takes", conflict, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			rename := func(x api.Tunnel) writer {
				return func(tx *store.Tx) error {
					name := fmt.Sprintf("renamed-%d", round)
					_, err := tx.UpdateTunnel(f.ctx, x.ID, store.TunnelChange{Name: &name})
					return err
				}
			}
			return rename(f.namedTunnel(t, "t")), rename(f.namedTunnel(t, "t"))
		}},
		{"name of a gateway", conflict, same(func(f *fixture, name string) writer {
			return func(tx *store.Tx) error {
				_, _, err := tx.CreateGateway(f.ctx, name)
				return err
			}
		})},
		{"name of a list", conflict, same(func(f *fixture, name string) writer {
			typ := "IP"
			return func(tx *store.Tx) error {
				_, err := tx.CreateList(f.ctx, api.ListWrite{Name: &name, Type: &typ})
				return err
			}
		})},
		{"name of a rule group", conflict, same(func(f *fixture, name string) writer {
			return func(tx *store.Tx) error {
				_, err := tx.CreateRuleGroup(f.ctx, api.RuleGroupWrite{Name: name, Include: []access.Rule{access.Everyone()}})
				return err
			}
		})},
	}
}

func policyRaces() []rule {
	return []rule{
		{"protocol of a port", conflict, func(_ *testing.T, f *fixture, round int) (writer, writer) {
			app := func(protocol string) writer {
				w := sshApp(protocol)
				w.Criteria[0].Port, w.Criteria[0].Protocol = 1000+round, protocol
				return func(tx *store.Tx) error {
					_, err := tx.CreateApplication(f.ctx, w)
					return err
				}
			}
			return app("SSH"), app("TCP")
		}},
		{"precedence of a policy", invalid, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			w := sshApp("precedence")
			w.Criteria[0].Port = 2000 + round
			a := f.app(t, w)
			policy := func(name string) writer {
				p := allow(name, "a@b.c", "root")
				p.Precedence = 7
				return func(tx *store.Tx) error {
					_, err := tx.CreatePolicy(f.ctx, a.ID, p)
					return err
				}
			}
			return policy("one"), policy("two")
		}},
		{"precedence of a network rule", invalid, same(func(f *fixture, name string) writer {
			return func(tx *store.Tx) error {
				_, err := tx.CreateNetworkRule(f.ctx, ruleWrite(name, "net.dst.port == 1", int64(len(name))+int64(name[len(name)-1])*10))
				return err
			}
		})},
		{"rule group deleted and referred to", conflictOrInvalid, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			var g api.RuleGroup
			f.write(t, func(tx *store.Tx) (err error) {
				g, err = tx.CreateRuleGroup(f.ctx, api.RuleGroupWrite{Name: fmt.Sprintf("going-%d", round), Include: []access.Rule{access.Everyone()}})
				return err
			})
			refer := api.RuleGroupWrite{Name: fmt.Sprintf("referring-%d", round), Include: []access.Rule{groupRule(t, g.ID)}}
			return func(tx *store.Tx) error { return tx.DeleteRuleGroup(f.ctx, g.ID) }, func(tx *store.Tx) error {
				_, err := tx.CreateRuleGroup(f.ctx, refer)
				return err
			}
		}},
		{"list deleted and named", conflictOrInvalid, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			name, typ := fmt.Sprintf("going-%d", round), "IP"
			var l api.List
			f.write(t, func(tx *store.Tx) (err error) {
				l, err = tx.CreateList(f.ctx, api.ListWrite{Name: &name, Type: &typ, Items: []api.ListItemWrite{{Value: "10.0.0.0/8"}}})
				return err
			})
			if round%2 == 1 {
				refer := api.RuleGroupWrite{Name: name, Include: []access.Rule{listRule(t, "ip_list", l.ID)}}
				return func(tx *store.Tx) error { return tx.DeleteList(f.ctx, l.ID) }, func(tx *store.Tx) error {
					_, err := tx.CreateRuleGroup(f.ctx, refer)
					return err
				}
			}
			w := ruleWrite(name, "net.dst.ip in $"+l.ID, int64(9000+round))
			return func(tx *store.Tx) error { return tx.DeleteList(f.ctx, l.ID) }, func(tx *store.Tx) error {
				_, err := tx.CreateNetworkRule(f.ctx, w)
				return err
			}
		}},
	}
}

func groupRule(t *testing.T, id string) access.Rule {
	t.Helper()
	var r access.Rule
	if err := r.UnmarshalJSON([]byte(`{"group":{"id":"` + id + `"}}`)); err != nil {
		t.Fatal(err)
	}
	return r
}

func secretRaces() []rule {
	return []rule{
		{"gateway CA", conflict, func(t *testing.T, f *fixture, _ int) (writer, writer) {
			t.Helper()
			f.write(t, func(tx *store.Tx) error {
				have, err := tx.UserCAs(f.ctx)
				for _, ca := range have {
					_, _, err = tx.DeleteUserCA(f.ctx, ca.ID, true)
				}
				return err
			})
			create := func(tx *store.Tx) error {
				_, err := tx.CreateUserCA(f.ctx, "public", []byte("reference"), false)
				return err
			}
			return create, create
		}},
		{"last use of an enrolment key", []kind.Kind{kind.Unauthenticated}, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			secret := f.key(t, api.NewEnrolmentKey{Email: "last@b.c"})
			return f.enrolment(secret, fmt.Sprint("last 1 ", round)), f.enrolment(secret, fmt.Sprint("last 2 ", round))
		}},
		{"public key of a device", conflict, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			public := fmt.Sprint("public ", round)
			return f.enrolment(f.key(t, api.NewEnrolmentKey{Email: "pub@b.c"}), public), f.enrolment(f.key(t, api.NewEnrolmentKey{Email: "pub@b.c"}), public)
		}},
		{"public key that devices change to", conflict, func(t *testing.T, f *fixture, round int) (writer, writer) {
			t.Helper()
			offer := func(email string) writer {
				d, _ := f.device(t, email, fmt.Sprint(email, round))
				return func(tx *store.Tx) error {
					_, err := tx.OfferDeviceKey(f.ctx, d.ID, fmt.Sprint("next ", round))
					return err
				}
			}
			return offer("one@b.c"), offer("two@b.c")
		}},
	}
}

// enrolment registers a device.
func (f *fixture) enrolment(secret, public string) writer {
	return func(tx *store.Tx) error {
		_, _, err := tx.Enrol(f.ctx, secret, store.NewDevice{Name: "laptop", OS: "linux", PublicKey: public, SourceIP: "192.0.2.1"})
		return err
	}
}

// defaultsRace: two networks become the default at the same time. Both writers are right; one of them was the last.
func defaultsRace(t *testing.T, f *fixture, two *store.Store) {
	t.Helper()
	yes := true
	for round := range raceRounds {
		become := func(name string) writer {
			n := f.network(t, fmt.Sprintf("%s-%d", name, round))
			return func(tx *store.Tx) error {
				_, err := tx.UpdateNetwork(f.ctx, n.ID, nil, nil, &yes)
				return err
			}
		}
		if errs := race(f, two, become("d-one"), become("d-two")); errs != [2]error{} {
			t.Fatal(errs)
		}
		f.read(t, func(r *store.Reader) error {
			list, err := r.ListNetworks(f.ctx, store.NetworkFilter{IsDefault: &yes})
			if len(list) != 1 {
				t.Errorf("there are %d default networks", len(list))
			}
			return err
		})
	}
}

// firstDevicesRace: a user's first two devices enrol at the same time. There is one user then, and each device has
// addresses of its own.
func firstDevicesRace(t *testing.T, f *fixture, two *store.Store) {
	t.Helper()
	for round := range raceRounds {
		email := fmt.Sprintf("new-%d@b.c", round)
		enrol := func(public string) writer { return f.enrolment(f.key(t, api.NewEnrolmentKey{Email: email}), public) }
		if errs := race(f, two, enrol("new 1 "+email), enrol("new 2 "+strings.ToUpper(email))); errs != [2]error{} {
			t.Fatal(errs)
		}
		f.read(t, func(r *store.Reader) error {
			users, _, err := r.ListUsers(f.ctx, store.UserFilter{Email: email}, store.Page{Number: 1, Size: 10})
			if len(users) != 1 || users[0].ActiveDeviceCount != 2 {
				t.Errorf("users are %+v", users)
			}
			return err
		})
	}
	blocks := map[uint16]bool{}
	f.read(t, func(r *store.Reader) error {
		all, err := r.ActiveDevices(f.ctx)
		for _, d := range all {
			if blocks[d.BlockIndex] {
				t.Errorf("two devices have the block %d", d.BlockIndex)
			}
			blocks[d.BlockIndex] = true
		}
		return err
	})
}
