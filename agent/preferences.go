package agent

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/mdm"
	"weft/agent/proxy"
	"weft/internal/kind"
)

const preferencesFile = "preferences.json"

// preferences are what the user chose for this agent, whatever its registration; empty fields are not chosen.
type preferences struct {
	Mode               string `json:"mode,omitempty"`
	ProxyPort          uint16 `json:"proxy_port,omitempty"`
	AutoConnectMinutes *int   `json:"auto_connect_minutes,omitempty"`
	Endpoint           string `json:"endpoint,omitempty"`
}

// noticePreferences says that the user's settings could not be read.
const noticePreferences = "settings"

// loadPreferences reads what is on disk. Damaged preferences are not worth refusing to start.
func (a *Agent) loadPreferences(ctx context.Context) {
	var p preferences
	if err := a.dir.Read(preferencesFile, &p); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			a.log.WarnContext(ctx, "read preferences", "error", err)
			// They may have said that nothing listens: then nothing must.
			a.prefs = preferences{Mode: localapi.ModeTunnelOnly}
			a.status.notice(noticePreferences, "your settings cannot be read, so the proxy is off; set what you want anew: warp-cli mode proxy")
		}
		return
	}
	a.prefs = p
}

// managed returns the administrator's settings; never nil.
func (a *Agent) managed() *mdm.Policy {
	if m := a.policy.Load(); m != nil && m.policy != nil {
		return m.policy
	}
	return &mdm.Policy{}
}

// mode is the mode in force and who said so.
func (a *Agent) mode(p *preferences) (value, from string) {
	switch m := a.managed(); {
	case m.Mode != nil:
		return *m.Mode, localapi.OriginMDM
	case p.Mode != "":
		return p.Mode, localapi.OriginUser
	case a.cfg.ProxyListen == "off":
		return localapi.ModeTunnelOnly, localapi.OriginFlag
	default:
		return localapi.ModeProxy, localapi.OriginDefault
	}
}

// proxyBase is where warp-svc was told to listen, if it was, else the default.
func (a *Agent) proxyBase() netip.AddrPort {
	if ap, err := netip.ParseAddrPort(a.cfg.ProxyListen); err == nil {
		return ap
	}
	return netip.MustParseAddrPort(proxy.DefaultListen)
}

// proxyPort is the port in force and who said so.
func (a *Agent) proxyPort(p *preferences) (port uint16, from string) {
	base := a.proxyBase().Port()
	switch m := a.managed(); {
	case m.ProxyPort != nil:
		return *m.ProxyPort, localapi.OriginMDM
	case p.ProxyPort != 0:
		return p.ProxyPort, localapi.OriginUser
	case strconv.Itoa(int(base)) != defaultPort():
		return base, localapi.OriginFlag
	default:
		return base, localapi.OriginDefault
	}
}

func defaultPort() string {
	_, port, err := net.SplitHostPort(proxy.DefaultListen)
	if err != nil {
		panic("agent: the proxy's default address is malformed")
	}
	return port
}

// autoConnect is after how many minutes a disconnected agent connects again; 0: never.
func (a *Agent) autoConnect(p *preferences) (minutes int, from string) {
	switch m := a.managed(); {
	case m.AutoConnectMinutes != nil:
		return *m.AutoConnectMinutes, localapi.OriginMDM
	case p.AutoConnectMinutes != nil:
		return *p.AutoConnectMinutes, localapi.OriginUser
	default:
		return 0, localapi.OriginDefault
	}
}

// endpointOverride is the gateway endpoint to use instead of control's; empty: control's.
func (a *Agent) endpointOverride(p *preferences) (hostPort, from string) {
	switch m := a.managed(); {
	case m.Endpoint != nil:
		return *m.Endpoint, localapi.OriginMDM
	case p.Endpoint != "":
		return p.Endpoint, localapi.OriginUser
	default:
		return "", localapi.OriginDefault
	}
}

// preferred returns a copy of the preferences.
func (a *Agent) preferred() preferences {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.prefs
}

// proxyAddr is where the proxy should listen under p; empty: nowhere. The port that an administrator chose for a service
// is that of its shared proxy: every session has the same one, and only the host can lead each user to their own.
func (a *Agent) proxyAddr(p *preferences) string {
	if mode, _ := a.mode(p); mode != localapi.ModeProxy {
		return ""
	}
	port, from := a.proxyPort(p)
	base := a.proxyBase()
	if from == localapi.OriginDefault || from == localapi.OriginFlag || a.cfg.Hosted && from == localapi.OriginMDM {
		return base.String()
	}
	return netip.AddrPortFrom(base.Addr(), port).String()
}

// listenProxy opens the proxy's listener at the start. When the port that the user or the administrator chose is taken,
// the agent starts without a proxy and says so: otherwise nobody could choose another.
func (a *Agent) listenProxy(ctx context.Context) (net.Listener, error) {
	p := a.preferred()
	addr := a.proxyAddr(&p)
	a.prefsMu.Lock()
	defer a.prefsMu.Unlock()
	a.proxyAt = addr
	if a.cfg.Hosted && addr != a.proxyBase().String() {
		a.leaveHostProxy(ctx)
	}
	if addr == "" {
		return nil, nil
	}
	ln, shown, err := a.openProxy(ctx, addr)
	if err == nil {
		a.status.setProxy(shown)
		return ln, nil
	}
	if a.cfg.Hosted && addr == a.proxyBase().String() {
		return nil, nil // there is none to have, which was not asked for
	}
	if addr == a.proxyBase().String() {
		return nil, err
	}
	a.noProxy(ctx, addr, err)
	return nil, nil
}

// noProxy says that the proxy does not listen at addr. The caller holds prefsMu, or nothing else runs yet.
func (a *Agent) noProxy(ctx context.Context, addr string, err error) {
	a.log.WarnContext(ctx, "go on without the proxy", "address", addr, "error", err)
	a.status.notice(noticeProxy, "the proxy cannot listen on "+addr+"; choose another port: warp-cli proxy port N")
	a.proxyAt = ""
}

// stopProxy ends the proxy that cannot move to where it should be: where it was it must not stay.
func (a *Agent) stopProxy(ctx context.Context, why error) {
	a.prefsMu.Lock()
	defer a.prefsMu.Unlock()
	p := a.preferred()
	addr := a.proxyAddr(&p)
	if addr == a.proxyAt {
		a.log.WarnContext(ctx, "keep preferences", "error", why)
		return
	}
	if err := a.setProxy(ctx, ""); err != nil {
		a.log.WarnContext(ctx, "stop the proxy", "error", err)
	}
	a.noProxy(ctx, addr, why)
}

// firstFreePort is the first that every user may listen on.
const firstFreePort = 1024

// openProxy listens at addr; what a host calls its own address is the host's to open.
func (a *Agent) openProxy(ctx context.Context, addr string) (ln net.Listener, shown string, err error) {
	if a.cfg.Hosted && addr == a.proxyBase().String() {
		if a.cfg.HostProxy != nil {
			ln, shown = a.cfg.HostProxy(ctx)
		}
		if ln == nil {
			return nil, "", fault.New(string(kind.Conflict), "the agent's service offers no proxy at %s", addr)
		}
		return ln, shown, nil
	}
	if err := a.mayListen(addr); err != nil {
		return nil, "", err
	}
	if ln, err = proxy.Listen(ctx, addr, a.cfg.AllowRemoteProxy); err != nil {
		return nil, "", err
	}
	return ln, ln.Addr().String(), nil
}

// mayListen refuses a port below 1024 that a user chose who could not have opened it: the service must not lend its rights.
func (a *Agent) mayListen(addr string) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || ap.Port() == 0 || ap.Port() >= firstFreePort || a.managed().ProxyPort != nil || !a.ForAnother() {
		return nil //nolint:nilerr // what is no address, proxy.Listen refuses
	}
	return fault.New(localapi.CodePermission, "this agent has rights that you have not, so it takes no port below %d for you", firstFreePort).
		WithHint("choose a port from %d on: warp-cli proxy port N", firstFreePort)
}

// usesHostProxy reports whether the proxy is what the host offers: its shared port, or one that it chose.
func (a *Agent) usesHostProxy() bool {
	a.prefsMu.Lock()
	defer a.prefsMu.Unlock()
	return a.cfg.Hosted && a.proxyAt == a.proxyBase().String()
}

// leaveHostProxy lets the host refuse at once what it would lead here.
func (a *Agent) leaveHostProxy(ctx context.Context) {
	if a.cfg.HostProxy == nil {
		return
	}
	if ln, _ := a.cfg.HostProxy(ctx); ln != nil {
		if err := ln.Close(); err != nil {
			a.log.WarnContext(ctx, "leave the host's proxy", "error", err)
		}
	}
}

// changePreferences changes what the user chose: first what can fail for reasons outside, then the file, then what
// follows from it. After an error all is as before.
func (a *Agent) changePreferences(ctx context.Context, change func(*preferences)) error {
	a.prefsMu.Lock()
	defer a.prefsMu.Unlock()
	next := a.preferred()
	change(&next)
	undo, err := a.moveProxy(ctx, &next)
	if err != nil {
		return err
	}
	if err := a.dir.Write(preferencesFile, next); err != nil {
		undo()
		return err
	}
	a.mu.Lock()
	a.prefs = next
	s := a.session
	a.mu.Unlock()
	if s != nil {
		s.look()
	}
	return nil
}

// moveProxy listens where p wants it. Connections through the old address stay. undo goes back.
func (a *Agent) moveProxy(ctx context.Context, p *preferences) (undo func(), err error) {
	want, was := a.proxyAddr(p), a.proxyAt
	if want == was {
		return func() {}, nil
	}
	if err := a.setProxy(ctx, want); err != nil {
		return nil, err
	}
	return func() {
		if err := a.setProxy(ctx, was); err != nil {
			a.log.WarnContext(ctx, "move the proxy back", "address", was, "error", err)
		}
	}, nil
}

// setProxy moves the proxy to addr (empty: nowhere); the caller holds prefsMu.
func (a *Agent) setProxy(ctx context.Context, addr string) error {
	var ln net.Listener
	shown := ""
	if addr != "" {
		var err error
		if ln, shown, err = a.openProxy(ctx, addr); err != nil {
			f := fault.From(err)
			if f.Code == string(kind.Conflict) {
				f = f.WithHint("end the program that uses the port, or choose another: warp-cli proxy port N")
			}
			return f
		}
	}
	if err := a.proxySwitch.Set(ln); err != nil && !errors.Is(err, net.ErrClosed) {
		a.log.WarnContext(ctx, "close the proxy's old listener", "error", err)
	}
	a.proxyAt = addr
	a.status.setProxy(shown)
	a.status.tell(changedStatus)
	return nil
}

// locked reports whether the administrator wants the tunnel up, whatever the user wants.
func (a *Agent) locked() bool {
	l := a.managed().SwitchLocked
	return l != nil && *l
}

func errLocked(doing string) error {
	return fault.New(localapi.CodePermission, "your administrator does not let this device %s (mdm: switch_locked)", doing).
		WithHint("to see what is managed run: warp-cli mdm get-configs")
}

// Pause implements server.Agent: it disconnects for d, or for as long as auto_connect says when d is 0.
func (a *Agent) Pause(ctx context.Context, d time.Duration) (localapi.Status, error) {
	if a.locked() {
		return localapi.Status{}, errLocked("disconnect")
	}
	p := a.preferred()
	if minutes, _ := a.autoConnect(&p); minutes > 0 && (d == 0 || d > time.Duration(minutes)*time.Minute) {
		d = time.Duration(minutes) * time.Minute
	}
	var until time.Time
	if d > 0 {
		until = time.Now().Add(d).UTC().Truncate(time.Millisecond)
	}
	st, err := a.disconnect(ctx, until)
	a.wakeResume()
	return st, err
}

func (a *Agent) wakeResume() {
	select {
	case a.resumeKick <- struct{}{}:
	default:
	}
}

// resumeCheck bounds how long a timed pause sleeps: timers stand still while a machine does, its clock does not.
const resumeCheck = 30 * time.Second

// resume ends timed pauses until ctx ends.
func (a *Agent) resume(ctx context.Context) error {
	for {
		var timer <-chan time.Time
		a.mu.Lock()
		at := a.settings.ResumeAt
		a.mu.Unlock()
		if !at.IsZero() {
			left := time.Until(at)
			if left <= 0 {
				a.endPause(ctx)
				continue
			}
			timer = time.After(min(left, resumeCheck))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer:
		case <-a.resumeKick:
		}
	}
}

func (a *Agent) endPause(ctx context.Context) {
	if err := a.changeSettings(func(s *settings) {
		if !s.ResumeAt.IsZero() {
			s.Connect, s.ResumeAt = true, time.Time{}
		}
	}); err != nil {
		a.log.WarnContext(ctx, "end the pause", "error", err)
		a.mu.Lock()
		a.settings.ResumeAt = time.Time{} // not registered any more, or the disk is full: do not spin
		a.mu.Unlock()
		return
	}
	a.log.InfoContext(ctx, "the pause is over")
}
