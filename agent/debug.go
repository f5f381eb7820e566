package agent

import (
	"context"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/logring"
	"weft/api"
)

const (
	devicesTimeout = 10 * time.Second
	maxStacks      = 4 << 20
	maxInterfaces  = 256
)

// noHostProxy is said of a session that the service's proxy does not lead to, which is no fault.
const noHostProxy = "the service has no proxy, or it leads to another profile of yours"

// Log implements server.Agent.
func (a *Agent) Log() *logring.Ring { return a.logRing }

// Runtime implements server.Agent.
func (a *Agent) Runtime(stacks bool) localapi.Runtime {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r := localapi.Runtime{
		SchemaVersion: localapi.SchemaVersion, PID: os.Getpid(), UptimeSeconds: time.Since(a.started).Seconds(),
		Goroutines: runtime.NumGoroutine(), HeapBytes: m.HeapAlloc, SystemBytes: m.Sys, GCCycles: m.NumGC,
		CPUs: runtime.GOMAXPROCS(0), GoVersion: runtime.Version(),
	}
	if stacks {
		b := make([]byte, maxStacks)
		r.Stacks = string(b[:runtime.Stack(b, true)])
	}
	return r
}

// Network implements server.Agent.
func (a *Agent) Network(ctx context.Context) localapi.Network {
	n := localapi.Network{SchemaVersion: localapi.SchemaVersion, Interfaces: []localapi.Interface{}}
	st := a.Status()
	n.Endpoint, n.ProxyAddress = st.Endpoint, st.ProxyAddress
	if p := a.plane.Load(); p != nil {
		n.LocalAddress = addrText(p.link.way(ctx))
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		a.log.WarnContext(ctx, "list interfaces", "error", err)
		return n
	}
	for _, i := range interfaces[:min(len(interfaces), maxInterfaces)] {
		w := localapi.Interface{Name: i.Name, Up: i.Flags&net.FlagUp != 0, MTU: i.MTU, Addresses: []string{}}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, ad := range addrs {
			w.Addresses = append(w.Addresses, ad.String())
		}
		n.Interfaces = append(n.Interfaces, w)
	}
	return n
}

// Devices implements server.Agent.
func (a *Agent) Devices(ctx context.Context) (localapi.DeviceList, error) {
	l := localapi.DeviceList{SchemaVersion: localapi.SchemaVersion, Devices: []localapi.Device{}}
	r := a.registration()
	if r == nil {
		return l, errNotRegistered()
	}
	ctx, cancel := context.WithTimeout(ctx, devicesTimeout)
	defer cancel()
	var out []api.AgentDevice
	if err := a.callControl(ctx, r, http.MethodGet, api.PathAgentDevices, &out); err != nil {
		return l, err
	}
	for _, d := range out {
		l.Devices = append(l.Devices, localapi.Device{
			ID: d.ID, Name: d.Name, OS: d.OS, Version: d.Version, CreatedAt: d.CreatedAt, LastSeenAt: d.LastSeenAt,
			Revoked: d.Revoked, This: d.ID == r.DeviceID,
		})
	}
	return l, nil
}

// callControl makes one call with the device's token.
func (a *Agent) callControl(ctx context.Context, r *registration, method, path string, out any) error {
	sec, err := a.vault.load(ctx, r.KeyStore)
	if err != nil {
		return err
	}
	c, err := r.client(sec.Token, a.cfg.Version)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Do(ctx, method, path, nil, out)
}

// Connectivity implements server.Agent: it tries name, control and gateway, each on its own, so that the first that
// fails says where the fault is.
func (a *Agent) Connectivity(ctx context.Context) localapi.Connectivity {
	c := localapi.Connectivity{SchemaVersion: localapi.SchemaVersion, OK: true, Checks: []localapi.Check{}}
	try := func(name string, f func(context.Context) (string, error)) {
		ctx, cancel := context.WithTimeout(ctx, devicesTimeout)
		defer cancel()
		begun := time.Now()
		detail, err := f(ctx)
		if err != nil {
			detail = fault.From(err).Message
			a.log.InfoContext(ctx, "connectivity check", "check", name, "error", err)
		}
		c.OK = c.OK && err == nil
		c.Checks = append(c.Checks, localapi.Check{
			Name: name, OK: err == nil, Detail: detail, TookMS: float64(time.Since(begun).Microseconds()) / 1000,
		})
	}
	try("registration", func(context.Context) (string, error) {
		r, err := a.Registration()
		return r.Email, err
	})
	try("control", a.tryControl)
	try("gateway", a.tryGateway)
	try("proxy", func(context.Context) (string, error) {
		p := a.preferred()
		st := a.Status()
		mode, _ := a.mode(&p)
		switch {
		case st.ProxyAddress != "":
			return "listens on " + st.ProxyAddress, nil
		case mode != localapi.ModeProxy:
			return "off: the mode is " + mode, nil
		case a.usesHostProxy():
			return noHostProxy, nil
		}
		return "", fault.New("unavailable", "the mode is proxy, and the proxy does not listen")
	})
	return c
}

func (a *Agent) tryControl(ctx context.Context) (string, error) {
	r := a.registration()
	if r == nil {
		return "", errNotRegistered()
	}
	var self api.AgentSelf
	if err := a.callControl(ctx, r, http.MethodGet, api.PathAgentSelf, &self); err != nil {
		return "", err
	}
	return r.ControlURL + " accepts this device", nil
}

// tryGateway waits for an answer through the tunnel that was asked for now.
func (a *Agent) tryGateway(ctx context.Context) (string, error) {
	p := a.plane.Load()
	if p == nil {
		return "", a.notConnected()
	}
	before := p.link.probesAnswered.Load()
	p.check()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for p.link.probesAnswered.Load() == before {
		select {
		case <-ctx.Done():
			return "", fault.New(localapi.CodeTimeout, "%s", p.link.silence()).WithCause(ctx.Err())
		case <-look.C:
		}
	}
	st := a.Status()
	return strings.Join(slices.DeleteFunc([]string{st.Gateway, st.Endpoint}, func(s string) bool { return s == "" }), " at ") + " answers", nil
}
