package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"weft/access/posture"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
	"weft/vnet"
)

func (f *fixture) postureRule(t *testing.T, in api.PostureRuleWrite) (p api.PostureRule) {
	t.Helper()
	f.write(t, func(tx *store.Tx) (err error) {
		p, err = tx.CreatePostureRule(f.ctx, in)
		return err
	})
	return p
}

func (f *fixture) passed(t *testing.T, device string) (rules []string) {
	t.Helper()
	f.read(t, func(r *store.Reader) error {
		all, err := r.PassedPosture(f.ctx)
		rules = all[device]
		return err
	})
	return rules
}

func (f *fixture) revisionOf(t *testing.T, collection string) (n uint64) {
	t.Helper()
	f.read(t, func(r *store.Reader) error {
		all, err := r.Revisions(f.ctx)
		n = all[collection]
		return err
	})
	return n
}

func postureIsReported(t *testing.T, f *fixture) {
	t.Helper()
	d, _ := f.device(t, "a@b.c", "key")
	rule := f.postureRule(t, api.PostureRuleWrite{Name: "marker", Type: posture.TypeFile, Schedule: "1m", Input: json.RawMessage(`{"path": "/a"}`)})
	report := func(o api.PostureObservation) {
		f.write(t, func(tx *store.Tx) error {
			_, err := tx.ReportPosture(f.ctx, d.ID, api.PostureReport{
				Facts: api.DeviceFacts{OS: "linux", OSVersion: "6"}, Observations: map[string]api.PostureObservation{rule.ID: o},
			})
			return err
		})
	}
	if len(f.passed(t, d.ID)) != 0 {
		t.Error("an unreported rule is passed")
	}
	report(api.PostureObservation{Exists: true})
	if got := f.passed(t, d.ID); len(got) != 1 || got[0] != rule.ID {
		t.Errorf("passed %v", got)
	}
	before := f.revisionOf(t, store.PostureResults)
	report(api.PostureObservation{Exists: true})
	if now := f.revisionOf(t, store.PostureResults); now != before {
		t.Error("the same report again is a revision")
	}
	f.clock.Advance(3 * time.Minute)
	report(api.PostureObservation{Exists: true})
	f.clock.Advance(3 * time.Minute)
	if got := f.passed(t, d.ID); len(got) != 1 {
		t.Errorf("a renewed result lapsed: %v", got)
	}
	f.clock.Advance(2 * time.Minute)
	if got := f.passed(t, d.ID); len(got) != 0 {
		t.Errorf("an old result counts: %v", got)
	}
	f.read(t, func(r *store.Reader) error {
		lapsed, err := r.LapsedPosture(f.ctx)
		if !lapsed {
			t.Error("nothing lapsed")
		}
		return err
	})
	f.write(t, func(tx *store.Tx) error { return tx.LapsePosture(f.ctx) })
	if now := f.revisionOf(t, store.PostureResults); now == before {
		t.Error("what lapsed is no revision")
	}
	report(api.PostureObservation{Exists: true})
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.ReplacePostureRule(f.ctx, rule.ID, api.PostureRuleWrite{Name: "renamed", Type: posture.TypeFile, Schedule: "1m", Input: json.RawMessage(`{"path":"/a"}`)})
		return err
	})
	if len(f.passed(t, d.ID)) != 1 {
		t.Error("another name makes devices fail")
	}
	f.write(t, func(tx *store.Tx) error { return tx.DeletePostureRule(f.ctx, rule.ID) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeletePostureRule(f.ctx, rule.ID) })
	if len(f.passed(t, d.ID)) != 0 {
		t.Error("a rule that is gone is passed")
	}
}

func profilesLimitNetworks(t *testing.T, f *fixture) {
	t.Helper()
	var n api.VirtualNetwork
	var p api.DeviceProfile
	f.write(t, func(tx *store.Tx) (err error) {
		if n, err = tx.CreateNetwork(f.ctx, store.NetworkFields{Name: "staging"}); err != nil {
			return err
		}
		p = store.NewDeviceProfile()
		p.Name, p.Match, p.Precedence = "laptops", `os.name == "linux"`, 5
		p.Networks = &api.ProfileNetworks{Allowed: []string{n.ID}, Default: n.ID}
		p, err = tx.CreateDeviceProfile(f.ctx, p)
		return err
	})
	f.refused(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.DeleteNetwork(f.ctx, n.ID)
		return err
	})
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreateDeviceProfile(f.ctx, p) // the precedence is taken
		return err
	})
	f.read(t, func(r *store.Reader) error {
		all, err := r.DomainProfiles(f.ctx)
		if len(all) != 2 || all[0].ID != p.PolicyID || all[0].Match == nil || len(all[0].Networks) != 1 || all[0].Default != vnet.ID(n.ID) || all[1].Match != nil || all[1].Networks != nil {
			t.Errorf("profiles %+v", all)
		}
		return err
	})
	f.write(t, func(tx *store.Tx) error { return tx.DeleteDeviceProfile(f.ctx, p.PolicyID) })
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.DeleteNetwork(f.ctx, n.ID)
		return err
	})
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.UpdateDeviceProfile(f.ctx, store.DefaultProfileID, func(p api.DeviceProfile) (api.DeviceProfile, error) {
			p.SwitchLocked = true
			return p, nil
		})
		return err
	})
	f.write(t, func(tx *store.Tx) error {
		s, err := tx.UpdateDeviceSettings(f.ctx, func(s api.DeviceSettings) (api.DeviceSettings, error) {
			s.GatewayProxyEnabled = true
			return s, nil
		})
		if !s.GatewayProxyEnabled {
			t.Errorf("settings %+v", s)
		}
		return err
	})
}

func tunnelsHaveConfigurations(t *testing.T, f *fixture) {
	t.Helper()
	var tun api.Tunnel
	f.write(t, func(tx *store.Tx) (err error) {
		tun, err = tx.CreateTunnel(f.ctx, "office", "local", nil)
		return err
	})
	for version := range 2 {
		f.write(t, func(tx *store.Tx) error {
			c, err := tx.SetTunnelConfiguration(f.ctx, tun.ID, json.RawMessage(`{"a": 1}`))
			if c.Version != int64(version+1) || string(c.Config) != `{"a":1}` {
				t.Errorf("%+v", c)
			}
			return err
		})
	}
	list := func(filter store.TunnelFilter) int {
		var n int
		f.read(t, func(r *store.Reader) error {
			all, total, err := r.ListTunnels(f.ctx, filter, store.Page{Number: 1, Size: 10})
			if n = total; len(all) != total {
				t.Errorf("%d of %d", len(all), total)
			}
			return err
		})
		return n
	}
	f.write(t, func(tx *store.Tx) error { return tx.SetTunnelActive(f.ctx, tun.ID, true) })
	then := f.clock.Now()
	f.write(t, func(tx *store.Tx) error { return tx.SetTunnelActive(f.ctx, tun.ID, false) })
	for name, c := range map[string]struct {
		filter store.TunnelFilter
		want   int
	}{
		"active then":         {store.TunnelFilter{WasActiveAt: then}, 1},
		"active later":        {store.TunnelFilter{WasActiveAt: then.Add(time.Hour)}, 0},
		"inactive then":       {store.TunnelFilter{WasInactiveAt: then}, 0},
		"inactive later":      {store.TunnelFilter{WasInactiveAt: then.Add(time.Hour)}, 1},
		"existed":             {store.TunnelFilter{ExistedAt: then}, 1},
		"existed before":      {store.TunnelFilter{ExistedAt: then.Add(-time.Hour)}, 0},
		"down":                {store.TunnelFilter{Status: "down"}, 1},
		"down, another is up": {store.TunnelFilter{Status: "down", Live: []string{"x"}}, 1},
		"healthy":             {store.TunnelFilter{Status: "healthy", Live: []string{tun.ID}}, 1},
		"none healthy":        {store.TunnelFilter{Status: "healthy"}, 0},
		"inactive":            {store.TunnelFilter{Status: "inactive"}, 0},
	} {
		if got := list(c.filter); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func integrationsHideSecrets(t *testing.T, f *fixture) {
	t.Helper()
	text := func(s string) *string { return &s }
	var p api.PostureIntegration
	f.write(t, func(tx *store.Tx) (err error) {
		p, err = tx.CreatePostureIntegration(f.ctx, api.PostureIntegrationWrite{
			Name: text("crowd"), Type: text("crowdstrike_s2s"), Interval: text("10m"), Config: map[string]string{"api_url": "u", "client_secret": "hunter2"},
		})
		return err
	})
	f.write(t, func(tx *store.Tx) (err error) {
		p, err = tx.UpdatePostureIntegration(f.ctx, p.ID, api.PostureIntegrationWrite{Name: text("other")})
		return err
	})
	if p.Name != "other" || p.Config["api_url"] != "u" || len(p.Config) != 1 {
		t.Errorf("%+v", p)
	}
	// What is not known to be none is a secret, and what earlier writes brought counts.
	f.write(t, func(tx *store.Tx) (err error) {
		p, err = tx.UpdatePostureIntegration(f.ctx, p.ID, api.PostureIntegrationWrite{Config: map[string]string{"Client_Secret": "a", "token": "b", "password": "c"}})
		return err
	})
	if len(p.Config) != 1 {
		t.Errorf("shown: %v", p.Config)
	}
	for i := range 100 {
		err := f.Update(f.ctx, admin, func(tx *store.Tx) error {
			_, err := tx.UpdatePostureIntegration(f.ctx, p.ID, api.PostureIntegrationWrite{Config: map[string]string{fmt.Sprint("more", i): "x"}})
			return err
		})
		if kind.Is(err, kind.Invalid) {
			f.write(t, func(tx *store.Tx) error { return tx.DeletePostureIntegration(f.ctx, p.ID) })
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("the configuration grows without end")
}
