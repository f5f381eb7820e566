package control_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/access/posture"
	"weft/api"
	"weft/control"
	"weft/control/store"
	"weft/internal/kind"
	"weft/internal/pgtest"
)

// writer makes random writes, of which some are refused.
type writer struct {
	*rand.Rand
	ids  map[string][]string // by kind; also of what is gone
	made int                 // numbers names and addresses
	done map[string]int      // writes that succeeded, by name
	// lists makes of every other rule one that refers to a list.
	lists bool
}

// writeFunc is one write; it returns the ID of what it made, if anything.
type writeFunc func(ctx context.Context, tx *store.Tx, w *writer) (string, error)

func (w *writer) next() int { w.made++; return w.made }

// one is a known ID of a kind, or one of nothing.
func (w *writer) one(kind string) string {
	if list := w.ids[kind]; len(list) > 0 {
		return list[w.IntN(len(list))]
	}
	return "00000000-0000-4000-8000-000000000000"
}

func (w *writer) email() string { return fmt.Sprintf("user%d@company.com", w.IntN(4)) }

func (w *writer) host() string { return fmt.Sprintf("host-%d", w.IntN(4)) }

func (w *writer) key() string {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = byte(w.IntN(256))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func (w *writer) target() (in api.TargetWrite) {
	in.Hostname = w.host()
	in.IP.IPv4 = &api.TargetAddress{Addr: fmt.Sprintf("10.0.%d.%d", w.IntN(2), w.IntN(30)), VNET: w.network()}
	if w.IntN(3) == 0 {
		in.Tags = map[string]string{"env": []string{"prod", "dev"}[w.IntN(2)]}
	}
	return in
}

// network is one of the made networks or the default.
func (w *writer) network() string {
	if w.IntN(2) == 0 {
		return ""
	}
	return w.one("network")
}

// rule is a rule of a policy or a group.
func (w *writer) rule() string {
	which := w.IntN(11)
	if w.lists && w.IntN(2) == 0 {
		which = 5 + w.IntN(2)
	}
	switch which {
	case 0:
		return fmt.Sprintf(`{"group":{"id":%q}}`, w.one("group"))
	case 1:
		return `{"everyone":{}}`
	case 2:
		return fmt.Sprintf(`{"device_posture":{"integration_uid":%q}}`, w.one("posture"))
	case 3:
		return fmt.Sprintf(`{"service_token":{"token_id":%q}}`, w.one("service token"))
	case 4:
		return `{"ip":{"ip":"192.0.2.0/24"}}`
	case 5:
		return fmt.Sprintf(`{"ip_list":{"id":%q}}`, w.one("list"))
	case 6:
		return fmt.Sprintf(`{"email_list":{"id":%q}}`, w.one("mail list"))
	}
	return fmt.Sprintf(`{"email":{"email":%q}}`, w.email())
}

func (w *writer) rules(least int) string {
	list := make([]string, least+w.IntN(2))
	for i := range list {
		list[i] = w.rule()
	}
	return "[" + strings.Join(list, ",") + "]"
}

func read[T any](text string) (v T, err error) {
	return v, json.Unmarshal([]byte(text), &v)
}

func (w *writer) policy() (api.PolicyWrite, error) {
	require, exclude := "[]", "[]"
	if w.IntN(3) == 0 {
		require = w.rules(0)
	}
	if w.IntN(4) == 0 {
		exclude = w.rules(0)
	}
	return read[api.PolicyWrite](fmt.Sprintf(`{"name":"policy %d","decision":"allow","include":%s,"require":%s,"exclude":%s,
		"connection_rules":{"ssh":{"usernames":["root","u%d"]}}}`, w.next(), w.rules(1), require, exclude, w.IntN(3)))
}

func (w *writer) application() (api.ApplicationWrite, error) {
	criteria := []string{
		fmt.Sprintf(`{"port":22,"protocol":"SSH","target_attributes":{"hostname":[%q]}}`, w.host()),
		fmt.Sprintf(`{"port":23,"protocol":"SSH","include":[{"target_attributes":{"hostname":[%q,%q]}}],"exclude":[{"tags":{"env":["dev"]}}]}`, w.host(), w.host()),
		`{"port":24,"protocol":"SSH","include":[{"tags":{"env":["prod"]}}]}`,
	}[w.IntN(3)]
	in, err := read[api.ApplicationWrite](fmt.Sprintf(`{"name":"app %d","type":"infrastructure","target_criteria":[%s]}`, w.next(), criteria))
	if err != nil || w.IntN(4) == 0 {
		return in, err
	}
	p, err := w.policy()
	if err != nil {
		return in, err
	}
	list := []api.PolicyWrite{p}
	if w.IntN(2) == 0 {
		list = append(list, api.PolicyWrite{ID: w.one("reusable")})
	}
	in.Policies = &list
	return in, nil
}

func (w *writer) group() (api.RuleGroupWrite, error) {
	exclude := "[]"
	if w.IntN(6) == 0 {
		exclude = `[{"certificate":{}}]`
	}
	return read[api.RuleGroupWrite](fmt.Sprintf(`{"name":"group %d","include":%s,"exclude":%s}`, w.next(), w.rules(1), exclude))
}

func (w *writer) networkRule() (api.NetworkRuleWrite, error) {
	traffic := fmt.Sprintf(`net.dst.ip in {10.0.%d.0/24}`, w.IntN(2))
	if list := w.one("list"); w.IntN(2) == 0 {
		traffic = fmt.Sprintf(`net.dst.ip in $%s`, strings.ReplaceAll(list, "-", ""))
	}
	return read[api.NetworkRuleWrite](fmt.Sprintf(`{"name":"rule %d","enabled":true,"action":"block","filters":["l4"],"traffic":%q}`, w.next(), traffic))
}

func (w *writer) profile() api.DeviceProfile {
	p := store.NewDeviceProfile()
	p.Name, p.Match, p.Precedence = fmt.Sprint("profile ", w.next()), fmt.Sprintf(`identity.email == %q`, w.email()), int64(w.IntN(50)+1)
	if w.IntN(3) > 0 {
		p.Networks = &api.ProfileNetworks{Allowed: []string{w.one("network")}}
	}
	return p
}

func (w *writer) facts() api.DeviceFacts {
	return api.DeviceFacts{OS: "linux", OSVersion: fmt.Sprintf("6.%d", w.IntN(2))}
}

// writes are all by name; the word before the colon is the kind of what is made.
var writes = map[string]writeFunc{
	"target: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		t, err := tx.CreateTarget(ctx, "", w.target())
		return string(t.ID), err
	},
	"target: create more": func(ctx context.Context, tx *store.Tx, w *writer) (id string, err error) {
		for range 3 {
			t, err := tx.CreateTarget(ctx, "", w.target())
			if err != nil {
				return "", err
			}
			id = string(t.ID)
		}
		return id, nil
	},
	"target: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.ReplaceTarget(ctx, w.one("target"), w.target())
		return "", err
	},
	"target: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteTarget(ctx, w.one("target"))
	},
	"application: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.application()
		if err != nil {
			return "", err
		}
		a, err := tx.CreateApplication(ctx, in)
		return a.ID, err
	},
	"application: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.application()
		if err != nil {
			return "", err
		}
		_, err = tx.ReplaceApplication(ctx, w.one("application"), in)
		return "", err
	},
	"application: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteApplication(ctx, w.one("application"))
	},
	"policy: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.policy()
		if err != nil {
			return "", err
		}
		p, err := tx.CreatePolicy(ctx, w.one("application"), in)
		return p.ID, err
	},
	"policy: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.policy()
		if err != nil {
			return "", err
		}
		app, policy := w.somePolicy(ctx, tx)
		_, err = tx.ReplacePolicy(ctx, app, policy, in)
		return "", err
	},
	"policy: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		app, policy := w.somePolicy(ctx, tx)
		return "", tx.DeletePolicy(ctx, app, policy)
	},
	"reusable: make": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		app, policy := w.somePolicy(ctx, tx)
		p, err := tx.MakePolicyReusable(ctx, app, policy)
		return p.ID, err
	},
	"reusable: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.policy()
		if err != nil {
			return "", err
		}
		p, err := tx.CreateReusablePolicy(ctx, api.ReusablePolicyWrite{PolicyWrite: in})
		return p.ID, err
	},
	"reusable: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.policy()
		if err != nil {
			return "", err
		}
		_, err = tx.ReplaceReusablePolicy(ctx, w.one("reusable"), api.ReusablePolicyWrite{PolicyWrite: in})
		return "", err
	},
	"reusable: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteReusablePolicy(ctx, w.one("reusable"))
	},
	"group: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.group()
		if err != nil {
			return "", err
		}
		g, err := tx.CreateRuleGroup(ctx, in)
		return g.ID, err
	},
	"group: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.group()
		if err != nil {
			return "", err
		}
		_, err = tx.ReplaceRuleGroup(ctx, w.one("group"), in)
		return "", err
	},
	"group: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteRuleGroup(ctx, w.one("group"))
	},
	"mail list: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		l, err := tx.CreateList(ctx, api.ListWrite{Name: new(fmt.Sprint("list ", w.next())), Type: new("EMAIL"), Items: []api.ListItemWrite{{Value: w.email()}}})
		return l.ID, err
	},
	"mail list: patch": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.PatchList(ctx, w.one("mail list"), api.ListPatch{Append: []api.ListItemWrite{{Value: w.email()}}})
		return "", err
	},
	"mail list: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.ReplaceList(ctx, w.one("mail list"), api.ListWrite{Items: []api.ListItemWrite{{Value: w.email()}}})
		return "", err
	},
	"mail list: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteList(ctx, w.one("mail list"))
	},
	"list: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		l, err := tx.CreateList(ctx, api.ListWrite{Name: new(fmt.Sprint("list ", w.next())), Type: new("IP"), Items: []api.ListItemWrite{{Value: []string{"192.0.2.0/24", "192.0.1.0/24", "10.0.0.1"}[w.IntN(3)]}}})
		return l.ID, err
	},
	"list: patch": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.PatchList(ctx, w.one("list"), api.ListPatch{Append: []api.ListItemWrite{{Value: fmt.Sprintf("10.0.1.%d", w.IntN(30))}}})
		return "", err
	},
	"list: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteList(ctx, w.one("list"))
	},
	"rule: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.networkRule()
		if err != nil {
			return "", err
		}
		r, err := tx.CreateNetworkRule(ctx, in)
		return r.ID, err
	},
	"rule: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		in, err := w.networkRule()
		if err != nil {
			return "", err
		}
		_, err = tx.ReplaceNetworkRule(ctx, w.one("rule"), in, w.IntN(2) == 0)
		return "", err
	},
	"rule: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteNetworkRule(ctx, w.one("rule"))
	},
	"network: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		n, err := tx.CreateNetwork(ctx, store.NetworkFields{Name: fmt.Sprint("network ", w.next()), Default: w.IntN(6) == 0})
		return n.ID, err
	},
	"network: update": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.UpdateNetwork(ctx, w.one("network"), new(fmt.Sprint("network ", w.next())), nil, nil)
		return "", err
	},
	"network: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.DeleteNetwork(ctx, w.one("network"))
		return "", err
	},
	"tunnel: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		t, err := tx.CreateTunnel(ctx, fmt.Sprint("tunnel ", w.next()), "cloudflare", make([]byte, 32))
		return t.ID, err
	},
	"tunnel: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.DeleteTunnel(ctx, w.one("tunnel"), w.IntN(2) == 0)
		return "", err
	},
	"route: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		r, err := tx.CreateRoute(ctx, store.RouteFields{Network: fmt.Sprintf("10.%d.0.0/16", w.IntN(9)), TunnelID: w.one("tunnel"), VNET: w.network()})
		return r.ID, err
	},
	"route: update": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.UpdateRoute(ctx, w.one("route"), api.RouteWrite{Network: new(fmt.Sprintf("10.%d.0.0/16", w.IntN(9)))})
		return "", err
	},
	"route: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.DeleteRoute(ctx, w.one("route"))
		return "", err
	},
	"user: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		u, err := tx.CreateUser(ctx, api.UserWrite{Email: w.email(), Name: "somebody"})
		return u.ID, err
	},
	"user: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.ReplaceUser(ctx, w.one("user"), api.UserWrite{Email: w.email(), Name: fmt.Sprint("name ", w.next())})
		return "", err
	},
	"user: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteUser(ctx, w.one("user"))
	},
	"user: revoke": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.RevokeUser(ctx, w.email())
	},
	"device: enrol": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, secret, err := tx.CreateEnrolmentKey(ctx, api.NewEnrolmentKey{Email: w.email(), Groups: []string{"ops"}})
		if err != nil {
			return "", err
		}
		d, _, err := tx.Enrol(ctx, secret, w.device())
		if err == nil {
			w.ids["user"] = append(w.ids["user"], d.UserID)
		}
		return d.ID, err
	},
	"device: enrol by token": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		pair := strings.Fields(w.one("pair"))
		if len(pair) != 2 {
			return "", kind.New(kind.NotFound, "no pair yet")
		}
		d, _, err := tx.EnrolByServiceToken(ctx, pair[0], pair[1], "team.example", w.device())
		return d.ID, err
	},
	"device: revoke": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.RevokeDevices(ctx, []string{w.one("device")})
	},
	"device: unrevoke": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.UnrevokeDevices(ctx, []string{w.one("device")})
	},
	"device: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteDevice(ctx, w.one("device"))
	},
	"device: offer key": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.OfferDeviceKey(ctx, w.one("device"), w.key())
		return "", err
	},
	"device: see": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.SeeDevice(ctx, w.one("device"), fmt.Sprintf("192.0.%d.1", w.IntN(4)))
	},
	"posture: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		p, err := tx.CreatePostureRule(ctx, api.PostureRuleWrite{Name: fmt.Sprint("rule ", w.next()), Type: posture.TypeFile, Input: json.RawMessage(`{"path":"/a"}`)})
		return p.ID, err
	},
	"posture: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.ReplacePostureRule(ctx, w.one("posture"), api.PostureRuleWrite{
			Name: fmt.Sprint("rule ", w.next()), Type: posture.TypeFile, Input: json.RawMessage(fmt.Sprintf(`{"path":"/%d"}`, w.IntN(3))),
		})
		return "", err
	},
	"posture: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeletePostureRule(ctx, w.one("posture"))
	},
	"posture: report": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		report := api.PostureReport{Facts: w.facts(), Observations: map[string]api.PostureObservation{}}
		for _, id := range w.ids["posture"] {
			report.Observations[id] = api.PostureObservation{Exists: w.IntN(3) > 0}
		}
		d, err := tx.Device(ctx, w.one("device"))
		if err != nil {
			return "", err
		}
		_, err = tx.ReportPosture(ctx, d.ID, report)
		return "", err
	},
	"profile: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		p, err := tx.CreateDeviceProfile(ctx, w.profile())
		return p.PolicyID, err
	},
	"profile: update": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.UpdateDeviceProfile(ctx, w.one("profile"), func(api.DeviceProfile) (api.DeviceProfile, error) { return w.profile(), nil })
		return "", err
	},
	"profile: update the default": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.UpdateDeviceProfile(ctx, store.DefaultProfileID, func(p api.DeviceProfile) (api.DeviceProfile, error) {
			p.Networks = w.profile().Networks
			return p, nil
		})
		return "", err
	},
	"profile: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteDeviceProfile(ctx, w.one("profile"))
	},
	"service token: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		t, err := tx.CreateServiceToken(ctx, api.ServiceTokenWrite{Name: new(fmt.Sprint("token ", w.next()))})
		if err == nil {
			w.ids["pair"] = append(w.ids["pair"], t.ClientID+" "+string(t.ClientSecret))
		}
		return t.ID, err
	},
	"service token: replace": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.ReplaceServiceToken(ctx, w.one("service token"), api.ServiceTokenWrite{Enabled: new(w.IntN(2) == 0)})
		return "", err
	},
	"service token: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteServiceToken(ctx, w.one("service token"))
	},
	"recording: set": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.SetRecording(ctx, api.RecordingSetting{Enabled: new(w.IntN(2) == 0), FailMode: api.RecordingFailStop})
	},
	"recording: set application": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.SetApplicationRecording(ctx, w.one("application"), api.RecordingSetting{Enabled: new(w.IntN(2) == 0)})
		return "", err
	},
	"recording: delete": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.DeleteApplicationRecording(ctx, w.one("application"))
	},
	"gateway: create": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		g, _, err := tx.CreateGateway(ctx, fmt.Sprint("gateway ", w.next()))
		return g.ID, err
	},
	"gateway: report": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		return "", tx.ReportGateway(ctx, w.one("gateway"), api.GatewayReport{
			PublicKey: w.key(), Endpoints: []string{"192.0.2.1:51820"}, ConnectorEndpoints: []string{"192.0.2.1:4443"}, CertificateSHA256: strings.Repeat("ab", 32), Epoch: fmt.Sprint(w.next()),
		})
	},
	"gateway: drain": func(ctx context.Context, tx *store.Tx, w *writer) (string, error) {
		_, err := tx.SetGatewayDrain(ctx, w.one("gateway"), w.IntN(2) == 0)
		return "", err
	},
	"epoch: begin": func(ctx context.Context, tx *store.Tx, _ *writer) (string, error) { return "", tx.BeginEpoch(ctx) },
}

func (w *writer) device() store.NewDevice {
	return store.NewDevice{Name: "laptop", OS: "linux", Version: "1", PublicKey: w.key(), SourceIP: "192.0.2.7"}
}

// somePolicy is one that an application has.
func (w *writer) somePolicy(ctx context.Context, tx *store.Tx) (app, policy string) {
	app = w.one("application")
	a, err := tx.Application(ctx, app)
	if err != nil || len(a.Policies) == 0 {
		return app, w.one("policy")
	}
	return app, a.Policies[w.IntN(len(a.Policies))].ID
}

// write makes one write, which may be refused but not fail.
func (w *writer) write(t *testing.T, s *store.Store, name string) {
	t.Helper()
	var id string
	kept := maps.Clone(w.ids)
	err := s.Update(t.Context(), store.System, func(tx *store.Tx) (err error) {
		id, err = writes[name](t.Context(), tx, w)
		return err
	})
	if err != nil {
		if k := kind.Of(err); k == kind.Internal || k == kind.Unavailable {
			t.Fatalf("%s: %v of kind %q", name, err, k)
		}
		w.ids = kept
		return
	}
	w.done[name]++
	if id != "" {
		what, _, _ := strings.Cut(name, ":")
		w.ids[what] = append(w.ids[what], id)
	}
}

func openRandomStore(t *testing.T) *store.Store {
	t.Helper()
	cfg := store.Config{Key: make([]byte, store.KeyBytes)}
	if os.Getenv("WEFT_TEST_DATABASE") == "postgres" {
		cfg.URL = pgtest.Database(t)
	} else {
		cfg.Path = filepath.Join(t.TempDir(), "weft.db")
	}
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// holdViews makes 120 times some random writes of names and holds the view after each time, made from the one before,
// against one that is made from nothing. It returns how many entries devices had.
func holdViews(t *testing.T, s *store.Store, w *writer, names []string) (allowed int) {
	t.Helper()
	h, err := control.NewHubForTest(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	var since []string
	for range 120 {
		for range 1 + w.IntN(4) {
			name := names[w.IntN(len(names))]
			w.write(t, s, name)
			since = append(since, name)
		}
		if err := h.CatchUpForTest(t.Context()); err != nil {
			t.Fatal(err)
		}
		differences, err := h.DifferencesForTest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(differences) > 0 {
			t.Fatalf("after %q:\n%s", since, strings.Join(differences, "\n"))
		}
		since, allowed = nil, allowed+h.AllowedForTest()
	}
	return allowed
}

// TestView_FromTheOneBefore holds views that are made from the one before, after any writes, against views made from nothing.
func TestView_FromTheOneBefore(t *testing.T) {
	done := map[string]int{}
	allowed := 0
	tried := func() bool { // every kind of write, with success
		for name := range writes {
			if done[name] == 0 {
				return false
			}
		}
		return true
	}
	for seed := uint64(0); seed < 4 || seed < 40 && !tried(); seed++ {
		w := &writer{Rand: rand.New(rand.NewPCG(seed, 7)), ids: map[string][]string{}, done: done}
		allowed += holdViews(t, openRandomStore(t), w, slices.Sorted(maps.Keys(writes)))
	}
	for name := range writes {
		if done[name] == 0 {
			t.Errorf("no write %q succeeded", name)
		}
	}
	if allowed == 0 {
		t.Error("nobody was ever allowed anything")
	}
	t.Logf("%d entries; writes: %v", allowed, done)
}

// TestView_ListsFromTheOneBefore is the same where little but lists decides who reaches what.
func TestView_ListsFromTheOneBefore(t *testing.T) {
	names := []string{
		"mail list: create", "mail list: patch", "mail list: patch", "mail list: replace", "mail list: delete",
		"list: create", "list: patch", "list: delete", "group: create", "group: replace", "group: delete", "device: see",
		"application: create", "application: replace", "policy: create", "policy: replace", "reusable: create", "reusable: replace",
	}
	allowed := 0
	for seed := range uint64(3) {
		s := openRandomStore(t)
		w := &writer{Rand: rand.New(rand.NewPCG(seed, 9)), ids: map[string][]string{}, done: map[string]int{}, lists: true}
		for w.done["device: enrol"] < 6 || w.done["target: create"] < 6 {
			w.write(t, s, "device: enrol")
			w.write(t, s, "target: create")
		}
		for range 2 {
			w.write(t, s, "mail list: create")
			w.write(t, s, "list: create")
		}
		allowed += holdViews(t, s, w, names)
	}
	if allowed < 100 {
		t.Errorf("only %d entries: the writes are too narrow", allowed)
	}
	t.Logf("%d entries", allowed)
}
