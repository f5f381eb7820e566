//go:build e2e && linux

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/integration/lab"
)

const (
	sshdPath  = "/usr/sbin/sshd"
	unixUser  = "root"   // an account that exists here and that policy grants
	otherUser = "daemon" // one that exists and that policy does not grant
	userEmail = "jdoe@company.com"
)

// Ports on the hosts.
const (
	echoPort    = 7000 // TCP: says the host's name, then echoes
	webPort     = 8080 // HTTP: /name, /bytes?n=
	udpPort     = 7001 // UDP: says the host's name before what it echoes
	closedPort  = 7999 // nothing listens
	hiddenPort  = 7100 // a service that no application covers
	privateNets = "10.20.0.0/16"
)

// world is a whole production set-up: control plane, gateway, two connectors and their private networks, each
// program in its own namespace, and one agent that most tests share.
type world struct {
	dir          string
	net          *topology
	bin          lab.Binaries
	api          *lab.API
	caPEM, caKey string
	networks     map[string]string // "a", "b" to their IDs
	targets      map[string]string // hostname to ID
	apps         map[string]string // name to ID
	processes    []*lab.Process
	gateway      *lab.Process
	control      *lab.Process
	agent        *agent
	hosts        map[string]*services
	counted      *relay
	door         *relay
}

const (
	controlURL  = "https://" + serverIP + ":8443"
	gatewayPort = "51820"
	quicPort    = "7844"
)

func newWorld(ctx context.Context) (*world, error) {
	dir, err := os.MkdirTemp("", "weft-e2e-")
	if err != nil {
		return &world{}, fmt.Errorf("make a folder: %w", err)
	}
	w := &world{
		dir: dir, networks: map[string]string{}, targets: map[string]string{}, apps: map[string]string{}, hosts: map[string]*services{},
	}
	// warp-cli runs as other users in some tests.
	if err := os.Chmod(dir, 0o755); err != nil {
		return w, err
	}
	for _, s := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"build", w.build},
		{"make namespaces", func(ctx context.Context) (err error) { w.net, err = newTopology(ctx); return err }},
		{"start the control plane", w.startControl},
		{"create objects", w.createNetworks},
		{"start the hosts", w.startHosts},
		{"create policies", w.createPolicies},
		{"start the gateway", w.createAndStartGateway},
		{"start the connectors", w.startConnectors},
		{"start the agent", func(ctx context.Context) (err error) { w.agent, err = w.newAgent(ctx, "main", userEmail); return err }},
	} {
		start := time.Now()
		if err := s.do(ctx); err != nil {
			return w, fmt.Errorf("%s: %w", s.what, err)
		}
		fmt.Fprintf(os.Stderr, "e2e: %s in %.2f s\n", s.what, time.Since(start).Seconds())
	}
	return w, nil
}

func (w *world) build(ctx context.Context) error {
	repo, err := lab.Repository()
	if err != nil {
		return err
	}
	w.bin, err = lab.Build(ctx, repo, filepath.Join(w.dir, "bin"))
	return err
}

// start runs a program in a namespace until the end of all tests.
func (w *world) start(ctx context.Context, name, ns string, args ...string) (*lab.Process, error) {
	p, err := lab.Start(ctx, lab.Command{Name: name, LogDir: w.dir, Netns: ns, Args: args})
	if err == nil {
		w.processes = append(w.processes, p)
	}
	return p, err
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// run runs a program to its end in a namespace and returns its output.
func (w *world) run(ctx context.Context, ns string, args ...string) (string, error) {
	out, err := lab.Command{Netns: ns, Args: args}.Exec(ctx).Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, stderrOf(err))
	}
	return strings.TrimSpace(string(out)), nil
}

func (w *world) startControl(ctx context.Context) error {
	if err := w.runControl(ctx); err != nil {
		return err
	}
	token, err := w.run(ctx, "", w.bin.Weft, "control", "token", "create", "--name", "e2e", "--data-dir", w.path("control"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.path("api-token"), []byte(token), 0o600); err != nil {
		return err
	}
	pem, err := os.ReadFile(w.caFile())
	if err != nil {
		return err
	}
	w.caPEM = string(pem)
	account, err := w.run(ctx, "", w.bin.Weft, "control", "account", "--data-dir", w.path("control"))
	if err != nil {
		return err
	}
	// The tests administer from outside, through a forwarder on the loopback address.
	if w.door, err = newForwarder(w.net.server, serverIP+":8443"); err != nil {
		return err
	}
	w.api, err = lab.NewAPI("https://"+w.door.l.Addr().String(), token, account, w.caFile())
	return err
}

func (w *world) caFile() string { return w.path("control", "ca.pem") }

func (w *world) runControl(ctx context.Context) error {
	ready := w.path("control-ready")
	p, err := w.start(ctx, "control", w.net.server, w.bin.Weft, "control", "--data-dir", w.path("control"),
		"--listen", serverIP+":8443", "--public-url", controlURL, "--hostname", "127.0.0.1", "--ready-file", ready, "--log-level", "debug")
	if err != nil {
		return err
	}
	w.control = p
	return p.AwaitFile(ctx, ready)
}

func (w *world) createNetworks(ctx context.Context) error {
	for _, name := range []string{"a", "b"} {
		id, err := w.api.CreateNetwork(ctx, name, "private network "+name)
		if err != nil {
			return err
		}
		w.networks[name] = id
		tunnel, token, err := w.api.CreateTunnel(ctx, "edge-"+name)
		if err != nil {
			return err
		}
		if _, err := w.api.CreateRoute(ctx, netip.MustParsePrefix(privateNets), tunnel, id); err != nil {
			return err
		}
		if err := os.WriteFile(w.path("tunnel-token-"+name), []byte(token), 0o600); err != nil {
			return err
		}
	}
	var err error
	w.caKey, err = w.api.CreateSSHCA(ctx)
	return err
}

// createPolicies makes the same three targets in both networks, and the applications that cover them.
func (w *world) createPolicies(ctx context.Context) error {
	for _, n := range []string{"a", "b"} {
		for label, addr := range map[string]string{"host": hostIPs[0], "counted": hostIPs[2], "dead": deadIP} {
			name := label + "-" + n
			id, err := w.api.CreateTarget(ctx, name, netip.MustParseAddr(addr), w.networks[n])
			if err != nil {
				return err
			}
			w.targets[name] = id
		}
	}
	all := []string{"host-a", "host-b", "counted-a", "counted-b", "dead-a", "dead-b"}
	for _, p := range []lab.Application{
		{Name: "ssh", Port: 22, Protocol: "SSH", Usernames: []string{unixUser}},
		{Name: "echo", Port: echoPort, Protocol: "TCP"},
		{Name: "closed", Port: closedPort, Protocol: "TCP"},
		{Name: "web", Port: webPort, Protocol: "HTTP"},
		{Name: "datagrams", Port: udpPort, Protocol: "UDP"},
	} {
		p.Hostnames, p.Emails = all, []string{userEmail}
		id, err := w.api.CreateApplication(ctx, p)
		if err != nil {
			return err
		}
		w.apps[p.Name] = id
	}
	return nil
}

func (w *world) createAndStartGateway(ctx context.Context) error {
	token, err := w.run(ctx, w.net.server, w.bin.Weft, "gateway", "create", "--name", "gw-1", "--control", controlURL,
		"--token-file", w.path("api-token"), "--ca-file", w.caFile())
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.path("gateway-token"), []byte(token), 0o600); err != nil {
		return err
	}
	if err := w.launchGateway(ctx); err != nil {
		return err
	}
	return w.gateway.AwaitFile(ctx, w.path("gateway-ready"))
}

// launchGateway starts the gateway and does not wait.
func (w *world) launchGateway(ctx context.Context) error {
	var err error
	w.gateway, err = w.start(ctx, "gateway", w.net.server, w.bin.Weft, "gateway", "--state-dir", w.path("gateway"),
		"--control", controlURL, "--token-file", w.path("gateway-token"), "--ca-file", w.caFile(),
		"--listen", serverIP+":"+gatewayPort, "--connector-listen", serverIP+":"+quicPort, "--advertise", serverIP,
		"--audit-file", w.path("audit.jsonl"), "--ready-file", w.path("gateway-ready"), "--log-level", "debug")
	return err
}

func (w *world) startConnectors(ctx context.Context) error {
	for name, ns := range map[string]string{"a": w.net.edgeA, "b": w.net.edgeB} {
		ready := w.path("connector-ready-" + name)
		p, err := w.start(ctx, "connector-"+name, ns, w.bin.Weft, "connector", "--token-file", w.path("tunnel-token-"+name),
			"--control", controlURL, "--ca-file", w.caFile(), "--ready-file", ready, "--log-level", "debug",
			"--source-address", "never") // some targets are relays, whose sshd sees another address than the connector's
		if err != nil {
			return err
		}
		if err := p.AwaitFile(ctx, ready); err != nil {
			return err
		}
	}
	return nil
}

// close ends everything, last started first. keep leaves the logs and says where.
func (w *world) close(keep bool) error {
	var errs []error
	for _, p := range slices.Backward(w.processes) {
		select {
		case <-p.Done(): // killed by a test, or by a fault that a test has reported
		default:
			errs = append(errs, p.Stop(10*time.Second))
		}
	}
	for _, h := range w.hosts {
		h.close()
	}
	for _, r := range []*relay{w.counted, w.door} {
		if r != nil {
			r.close()
		}
	}
	if w.api != nil {
		w.api.Close()
	}
	if w.net != nil {
		w.net.remove()
	}
	if keep || errors.Join(errs...) != nil {
		fmt.Fprintf(os.Stderr, "e2e: the logs are in %s\n", w.dir)
		return errors.Join(errs...)
	}
	return os.RemoveAll(w.dir)
}
