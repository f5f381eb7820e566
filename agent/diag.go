package agent

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"runtime"
	"strings"
	"time"

	"weft/agent/diag"
	"weft/agent/diag/redact"
	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/api"
	"weft/internal/kind"
	"weft/tunnel"
)

// Diag implements server.Diagnoser.
func (a *Agent) Diag(ctx context.Context, q localapi.DiagRequest) (localapi.DiagReport, error) {
	for _, code := range q.Checks {
		if !diag.Known(code) {
			return localapi.DiagReport{}, fault.New(string(kind.Invalid), "there is no check %.64q", code).
				WithHint("all checks: warp-cli diag")
		}
	}
	r := localapi.DiagReport{
		SchemaVersion: localapi.SchemaVersion, Time: time.Now().UTC(), Version: a.cfg.Version, OS: runtime.GOOS, Arch: runtime.GOARCH,
		Checks: diag.Run(ctx, a.cfg.Diag, a.subject(), q.Checks),
	}
	r.Judge()
	return r, nil
}

// subject is this agent as the checks see it.
func (a *Agent) subject() diag.Subject {
	s := diag.Subject{
		StateDir: a.cfg.StateDir, Status: a.Status(), FlowLimit: a.flows.limit, WriteState: a.writeTest,
	}
	p := a.preferred()
	mode, _ := a.mode(&p)
	s.ProxyShared = a.usesHostProxy()
	switch {
	case mode != localapi.ModeProxy:
		s.ProxyOff = "the mode is " + mode
	case s.ProxyShared && s.Status.ProxyAddress == "":
		s.ProxyOff = noHostProxy
	}
	for _, l := range a.logRing.Errors() {
		s.Errors = append(s.Errors, diag.LoggedError{Time: l.Time, Message: l.Message})
	}
	s.Flows, _, s.FlowsRefused = a.flows.count()
	if r := a.registration(); r != nil {
		s.Registered, s.ControlURL, s.CAFingerprint = true, r.ControlURL, r.CAFingerprint
		if r.CAPEM != "" {
			s.Roots, s.CAFingerprint = x509.NewCertPool(), ""
			s.Roots.AppendCertsFromPEM([]byte(r.CAPEM))
		}
		s.ReadKey = func(ctx context.Context) error {
			_, err := a.vault.load(ctx, r.KeyStore)
			return err
		}
		s.AskControl = func(ctx context.Context) ([]api.AgentGatewayStatus, error) { return a.askControl(ctx, r) }
	}
	if v := a.view.Load(); v != nil {
		s.Known, s.Networks, s.Entries = true, v.networks, v.entries
		s.StaleAfter = time.Duration(v.state.Self.StaleAfterSeconds) * time.Second
		s.Blocks = []netip.Prefix{v.state.Self.BlockV4, v.state.Self.BlockV6}
		for _, g := range v.gateways {
			s.Gateways = append(s.Gateways, diag.Gateway{ID: g.ID, Name: g.Name, Endpoints: g.Endpoints, CheckEndpoints: g.CheckEndpoints})
		}
		if p := a.plane.Load(); p != nil {
			a.addTunnel(&s, v, p)
		}
	}
	return s
}

func (a *Agent) addTunnel(s *diag.Subject, v *view, p *plane) {
	for _, g := range v.gateways {
		key, err := tunnel.ParsePublicKey(g.PublicKey)
		if err != nil {
			continue
		}
		if st, ok := p.tun.PeerStats(key); ok {
			s.LastHandshake = st.LastHandshake
		}
	}
	at, ok := v.gatewayAddr()
	if !ok {
		return
	}
	s.Echo = func(ctx context.Context, size int) (time.Duration, error) {
		return p.echo.echo(ctx, v.control.of(at.Addr()), at, size)
	}
}

// writeTest finds out whether the state directory can be written, as the agent itself writes there.
func (a *Agent) writeTest() error {
	const name = "diag-test"
	return errors.Join(a.dir.Write(name, "a test of diag"), a.dir.Remove(name))
}

func (a *Agent) askControl(ctx context.Context, r *registration) ([]api.AgentGatewayStatus, error) {
	sec, err := a.vault.load(ctx, r.KeyStore)
	if err != nil {
		return nil, err
	}
	c, err := r.client(sec.Token, a.cfg.Version)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, unregisterTimeout)
	defer cancel()
	var out []api.AgentGatewayStatus
	return out, c.Do(ctx, http.MethodGet, api.PathAgentGateways, nil, &out)
}

// Bundle implements server.Diagnoser: what helps to find a fault, and no secret. The state's secrets are never read for it
// but to look for them in what is given away.
func (a *Agent) Bundle(ctx context.Context, q localapi.BundleRequest) (localapi.Bundle, error) {
	report, err := a.Diag(ctx, localapi.DiagRequest{})
	if err != nil {
		return localapi.Bundle{}, err
	}
	scrub := a.scrubber(ctx, q.Anonymize)
	b := localapi.Bundle{SchemaVersion: localapi.SchemaVersion, Files: []localapi.BundleFile{}}
	for _, f := range []struct {
		name  string
		value any
	}{
		{"agent.json", a.bundleAgent()},
		{"status.json", a.Status()},
		{"state.json", a.bundleState()},
		{"checks.json", report},
	} {
		text, err := json.MarshalIndent(f.value, "", "  ")
		if err != nil {
			return localapi.Bundle{}, fmt.Errorf("render %s: %w", f.name, err)
		}
		b.Files = append(b.Files, localapi.BundleFile{Name: f.name, Text: scrub.Text(string(text)) + "\n"})
	}
	b.Files = append(b.Files, localapi.BundleFile{Name: "log.txt", Text: scrub.Text(a.logText())})
	return b, nil
}

// logText is what is remembered of the log, a line for each.
func (a *Agent) logText() string {
	lines, _, _ := a.logRing.After(0)
	var b strings.Builder
	for i := range lines {
		b.WriteString(lines[i].String())
		b.WriteByte('\n')
	}
	return b.String()
}

// scrubber knows this agent's secrets and names.
func (a *Agent) scrubber(ctx context.Context, anonymize bool) *redact.Scrubber {
	s := redact.New(anonymize)
	if host, err := os.Hostname(); err == nil {
		s.Name("host", host)
	}
	if owner, err := a.Owner(); err == nil { // in a service that is not whom the process runs as
		if u, err := user.LookupId(owner.Account()); err == nil {
			s.Name("home", u.HomeDir)
			s.Name("user", u.Username, u.Name)
		}
	}
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		s.Name("home", home)
	}
	s.Name("host", a.cfg.DeviceName)
	s.Name("user", os.Getenv("USER"), os.Getenv("LOGNAME"), os.Getenv("USERNAME"))
	if r := a.registration(); r != nil {
		if sec, err := a.vault.load(ctx, r.KeyStore); err == nil {
			s.Secret(sec.PrivateKey.Base64(), string(sec.Token))
		}
		local, domain, _ := strings.Cut(r.Email, "@")
		s.Name("user", local)
		s.Name("domain", domain)
		s.Name("id", r.AccountID, r.DeviceID)
	}
	v := a.view.Load()
	if v == nil {
		return s
	}
	for _, e := range v.entries {
		s.Name("host", e.Target.Hostname)
		s.Name("login", e.Usernames...)
		s.Name("id", string(e.Target.ID))
		for k, value := range e.Target.Tags {
			s.Name("tag", k, value)
		}
	}
	for _, n := range v.networks {
		s.Name("network", n.Name, n.Comment)
		s.Name("id", string(n.ID))
	}
	for _, g := range v.gateways {
		s.Name("gateway", g.Name)
		for _, e := range g.Endpoints {
			if host, _, ok := strings.Cut(e, ":"); ok {
				if _, err := netip.ParseAddr(host); err != nil {
					s.Name("host", host)
				}
			}
		}
	}
	return s
}

// bundleAgent is the agent and its settings.
func (a *Agent) bundleAgent() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	type registered struct {
		ControlURL   string    `json:"control_url"`
		Email        string    `json:"email"`
		DeviceID     string    `json:"device_id"`
		KeyStore     string    `json:"key_store"`
		RegisteredAt time.Time `json:"registered_at"`
		OwnAuthority bool      `json:"own_authority"`
	}
	out := struct {
		Version      string      `json:"version"`
		OS           string      `json:"os"`
		Arch         string      `json:"arch"`
		Go           string      `json:"go"`
		StateDir     string      `json:"state_dir"`
		Socket       string      `json:"socket"`
		ProxyListen  string      `json:"proxy_listen"`
		Connect      bool        `json:"connect"`
		ChosenVNET   string      `json:"chosen_vnet"`
		Registration *registered `json:"registration"`
	}{
		Version: a.cfg.Version, OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), StateDir: a.cfg.StateDir,
		Socket: a.cfg.Socket, ProxyListen: a.cfg.ProxyListen, Connect: a.settings.Connect, ChosenVNET: string(a.settings.VNET),
	}
	if r := a.reg; r != nil {
		out.Registration = &registered{
			ControlURL: r.ControlURL, Email: r.Email, DeviceID: r.DeviceID, KeyStore: r.KeyStore, RegisteredAt: r.RegisteredAt,
			OwnAuthority: r.CAPEM == "",
		}
	}
	return out
}

// bundleState sums up what control said: of targets only how many there are.
func (a *Agent) bundleState() any {
	type gateway struct {
		Name      string   `json:"name"`
		Endpoints []string `json:"endpoints"`
	}
	type network struct {
		Name    string `json:"name"`
		Default bool   `json:"default"`
		Targets int    `json:"targets"`
	}
	out := struct {
		Revision   uint64    `json:"revision"`
		AgeSeconds float64   `json:"age_seconds"`
		Entries    int       `json:"entries"`
		Gateways   []gateway `json:"gateways"`
		Networks   []network `json:"networks"`
		Flows      int       `json:"flows"`
	}{Gateways: []gateway{}, Networks: []network{}}
	out.Flows, _, _ = a.flows.count()
	v := a.view.Load()
	if v == nil {
		return out
	}
	out.Revision, out.AgeSeconds, out.Entries = v.revision, a.age().Seconds(), len(v.entries)
	for _, g := range v.gateways {
		out.Gateways = append(out.Gateways, gateway{g.Name, g.Endpoints})
	}
	for _, n := range v.networks {
		row := network{Name: n.Name, Default: n.Default}
		for i := range v.entries {
			t := &v.entries[i].Target
			if t.IPv4 != nil && t.IPv4.VNET == n.ID || t.IPv6 != nil && t.IPv6.VNET == n.ID {
				row.Targets++
			}
		}
		out.Networks = append(out.Networks, row)
	}
	return out
}
