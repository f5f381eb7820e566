//go:build e2e && linux

package integration_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// topology is the set of network namespaces that all tests share:
//
//	client 10.99.0.2 ─┐
//	server 10.99.0.1 ─┼─ bridge (in server)        control plane and gateway
//	edge A 10.99.0.3 ─┤  10.20.0.1/16 ── 10.20.0.5-8/16 host A
//	edge B 10.99.0.4 ─┘  10.20.0.1/16 ── 10.20.0.5-8/16 host B
//
// The two private networks have the same prefix; neither is routed to anywhere.
type topology struct {
	client, server, edgeA, edgeB, hostA, hostB string
}

const (
	clientIP  = "10.99.0.2"
	serverIP  = "10.99.0.1"
	edgeAIP   = "10.99.0.3"
	edgeBIP   = "10.99.0.4"
	privateIP = "10.20.0.1"
	// deadIP is an address whose neighbour entry leads nowhere: packets to it vanish.
	deadIP = "10.20.0.66"
)

// hostIPs are the addresses that each host has: sshd's, the services', and the counted one's.
var hostIPs = []string{"10.20.0.5", "10.20.0.6", "10.20.0.7", "10.20.0.8"}

func newTopology(ctx context.Context) (*topology, error) {
	name := func(s string) string { return fmt.Sprintf("weft%d-%s", os.Getpid(), s) }
	t := &topology{name("client"), name("server"), name("edge-a"), name("edge-b"), name("host-a"), name("host-b")}
	for _, ns := range t.all() {
		if err := ip(ctx, "netns", "add", ns); err != nil {
			return t, err
		}
		if err := ip(ctx, "-n", ns, "link", "set", "lo", "up"); err != nil {
			return t, err
		}
	}
	if err := ip(ctx, "-n", t.server, "link", "add", "wan", "type", "bridge"); err != nil {
		return t, err
	}
	if err := t.up(ctx, t.server, "wan", serverIP+"/24"); err != nil {
		return t, err
	}
	for i, w := range []struct{ ns, addr string }{{t.client, clientIP}, {t.edgeA, edgeAIP}, {t.edgeB, edgeBIP}} {
		port := fmt.Sprintf("port%d", i)
		if err := t.wire(ctx, t.server, port, w.ns, "wan"); err != nil {
			return t, err
		}
		if err := ip(ctx, "-n", t.server, "link", "set", port, "master", "wan", "up"); err != nil {
			return t, err
		}
		if err := t.up(ctx, w.ns, "wan", w.addr+"/24"); err != nil {
			return t, err
		}
	}
	for _, p := range []struct{ edge, host string }{{t.edgeA, t.hostA}, {t.edgeB, t.hostB}} {
		if err := t.private(ctx, p.edge, p.host); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *topology) private(ctx context.Context, edge, host string) error {
	if err := t.wire(ctx, edge, "lan", host, "lan"); err != nil {
		return err
	}
	if err := t.up(ctx, edge, "lan", privateIP+"/16"); err != nil {
		return err
	}
	for _, a := range hostIPs {
		if err := t.up(ctx, host, "lan", a+"/16"); err != nil {
			return err
		}
	}
	return ip(ctx, "-n", edge, "neigh", "replace", deadIP, "lladdr", "02:00:00:00:00:66", "dev", "lan", "nud", "permanent")
}

func (t *topology) wire(ctx context.Context, nsA, devA, nsB, devB string) error {
	return ip(ctx, "link", "add", devA, "netns", nsA, "type", "veth", "peer", "name", devB, "netns", nsB)
}

func (t *topology) up(ctx context.Context, ns, dev, addr string) error {
	if err := ip(ctx, "-n", ns, "address", "add", addr, "dev", dev); err != nil {
		return err
	}
	return ip(ctx, "-n", ns, "link", "set", dev, "up")
}

func (t *topology) all() []string {
	return []string{t.client, t.server, t.edgeA, t.edgeB, t.hostA, t.hostB}
}

// remove deletes the namespaces; what lived in them goes with them.
func (t *topology) remove() {
	for _, ns := range t.all() {
		if _, err := os.Stat(filepath.Join("/run/netns", ns)); err == nil {
			_ = ip(context.Background(), "netns", "delete", ns) // the last thing that we do
		}
	}
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// inNamespace runs f on a thread that has moved to ns. Sockets that f opens stay there. The thread is never used again:
// it ends with its goroutine, because that does not unlock it.
func inNamespace[T any](ns string, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		var r result
		if r.err = enter(ns); r.err == nil {
			r.v, r.err = f()
		}
		done <- r
	}()
	r := <-done
	return r.v, r.err
}

func enter(ns string) error {
	fd, err := unix.Open(filepath.Join("/run/netns", ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", ns, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", ns, err)
	}
	return nil
}

// dialIn opens a connection from a namespace. The address must be numeric: a name would be resolved on another thread.
func dialIn(ctx context.Context, ns, network, addr string) (net.Conn, error) {
	return inNamespace(ns, func() (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, network, addr) })
}

func listenIn(ns, addr string) (net.Listener, error) {
	return inNamespace(ns, func() (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	})
}
