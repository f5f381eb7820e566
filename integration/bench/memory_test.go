//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/integration/lab"
	"weft/tunnel"
)

// What the memory benchmark loads an agent with.
const (
	memoryTargets  = 1000
	memoryNetworks = 5
	memoryConns    = 1000
	memoryBytes    = 1 << 20 // what each connection moves, there and back
	memoryWorkers  = 8
	memorySoon     = 3 * time.Second
	memoryLater    = 20 * time.Second // an idle agent asks its gateway every 15 s whether it is there
)

// The aims of docs/performance.md, in MiB.
const (
	aimIdle = 20
	aimOpen = 45
)

// BenchmarkMemory measures what the real warp-svc holds: registered and connected with 1,000 targets in 5 VNETs, then
// with 1,000 connections through SOCKS5 that have exchanged a few bytes, then when each has moved 1 MiB there and
// back, then when all are closed; each a few seconds after it happened and again when it has long been quiet. Beside it, in the same run, stands a stock client: WireGuard's tun/netstack under
// the plainest SOCKS5 server, in a process of its own.
//
//	go test -run '^$' -bench Memory -benchtime 1x ./integration/bench
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		weft := weftMemory(b)
		stock := stockMemory(b)
		printMemory(weft, stock)
		b.ReportMetric(weft[0].rss, "idle-MiB")
		b.ReportMetric(weft[2].rss, "open-MiB")
		b.ReportMetric(weft[4].rss, "moved-MiB")
		for _, over := range []struct {
			m   memory
			aim float64
		}{{weft[0], aimIdle}, {weft[1], aimIdle}, {weft[2], aimOpen}, {weft[3], aimOpen}} {
			if over.m.rss > over.aim {
				b.Errorf("%s: %.1f MiB resident, the aim is %.0f", over.m.when, over.m.rss, over.aim)
			}
		}
	}
}

// memory of a process at one moment, in MiB.
type memory struct {
	when            string
	rss, anon, peak float64
	heap            float64 // live after the last collection, as the runtime says it
	threads         int
}

func weftMemory(b *testing.B) []memory {
	b.Helper()
	b.Setenv("CGO_ENABLED", "0") // as "make build" has it: no C library
	s := &stage{dir: b.TempDir(), agentEnv: []string{"GODEBUG=gctrace=1"}}
	fill := func(ctx context.Context) error { return fillAccount(ctx, s.env) }
	for _, f := range []func(context.Context) error{s.build, s.startServers, fill, s.startAgent} {
		if err := f(b.Context()); err != nil {
			b.Fatal(s.end(err))
		}
	}
	defer func() {
		if err := s.end(nil); err != nil {
			b.Error(err)
		}
	}()
	svc := s.processes[len(s.processes)-1]
	return loadMemory(b, way{"weft", s.agentAddr}, svc.PID(), svc.LogPath)
}

// fillAccount makes the account as large as a user's view of it is meant to be; one network and one target are there.
func fillAccount(ctx context.Context, env lab.Env) error {
	api, err := env.API()
	if err != nil {
		return err
	}
	defer api.Close()
	networks := make([]string, memoryNetworks-1)
	for i := range networks {
		if networks[i], err = api.CreateNetwork(ctx, fmt.Sprintf("net-%d", i), ""); err != nil {
			return err
		}
	}
	names := []string{}
	for i := range memoryTargets - 1 {
		addr := netip.AddrFrom4([4]byte{10, 40, byte(i >> 8), byte(i)})
		name := fmt.Sprintf("web-%d", i)
		if _, err := api.CreateTarget(ctx, name, addr, networks[i%len(networks)]); err != nil {
			return err
		}
		names = append(names, name)
	}
	_, err = api.CreateApplication(ctx, lab.Application{
		Name: "web", Hostnames: names, Port: 22, Protocol: "SSH", Emails: []string{email}, Usernames: []string{"alice", "root"},
	})
	return err
}

// loadMemory is the same for every client.
func loadMemory(b *testing.B, w way, pid int, log string) []memory {
	b.Helper()
	ctx := b.Context()
	var found []memory
	look := func(when string) {
		wait(ctx, memorySoon)
		found = append(found, memoryOf(b, when, pid, log))
		wait(ctx, memoryLater-memorySoon)
		found = append(found, memoryOf(b, "  later", pid, log))
	}
	look("idle")
	conns := make([]net.Conn, memoryConns)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	each(b, conns, func(i int) error {
		c, err := w.dial(ctx)
		if err != nil {
			return err
		}
		conns[i] = c
		if _, err := c.Write([]byte{askEcho}); err != nil {
			return err
		}
		return thereAndBack(c, 64)
	})
	look("1,000 open")
	each(b, conns, func(i int) error { return thereAndBack(conns[i], memoryBytes) })
	look("after 1 MiB each")
	for i, c := range conns {
		_ = c.Close() // the load is over
		conns[i] = nil
	}
	look("all closed")
	return found
}

// each calls do for every connection, some at a time.
func each(b *testing.B, conns []net.Conn, do func(i int) error) {
	b.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for worker := range memoryWorkers {
		wg.Go(func() {
			for i := worker; i < len(conns); i += memoryWorkers {
				if err := do(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
}

// thereAndBack sends n bytes to a target that echoes them.
func thereAndBack(c net.Conn, n int) error {
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, n))
		sent <- err
	}()
	_, err := io.CopyN(io.Discard, c, int64(n))
	return errors.Join(err, <-sent)
}

// stockMemory runs the stock client against a gateway of ours in this process.
func stockMemory(b *testing.B) []memory {
	b.Helper()
	target, err := newTarget()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = target.close() }()
	local := netip.MustParseAddr("100.64.0.1")
	keys := [2]tunnel.PrivateKey{}
	for i := range keys {
		if keys[i], err = tunnel.NewPrivateKey(); err != nil {
			b.Fatal(err)
		}
	}
	gw, err := tunnel.New(tunnel.Config{
		PrivateKey: keys[0], Listen: netip.MustParseAddrPort("127.0.0.1:0"), Handler: relayTo(target.l.Addr().String()),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = gw.Close() }()
	if err := gw.SetPeer(tunnel.Peer{PublicKey: keys[1].Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(local, 32)}}); err != nil {
		b.Fatal(err)
	}
	peer := keys[0].Public()
	config := fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=127.0.0.1:%d\nallowed_ip=0.0.0.0/0\n",
		hex.EncodeToString(keys[1][:]), hex.EncodeToString(peer[:]), gw.ListenPort())
	dir := b.TempDir()
	addr, pid, log := startStock(b, dir, local, config)
	return loadMemory(b, way{"stock", addr}, pid, log)
}

func startStock(b *testing.B, dir string, local netip.Addr, config string) (addr string, pid int, logPath string) {
	b.Helper()
	program := filepath.Join(dir, "stocksocks")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, "./stocksocks").CombinedOutput(); err != nil {
		b.Fatalf("build the stock client: %v\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	cmd := lab.Command{Args: []string{program, local.String()}, Env: []string{"GODEBUG=gctrace=1"}}.Exec(context.WithoutCancel(b.Context()))
	cmd.Stdin, cmd.Stderr = strings.NewReader(config), log
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Cancel() // it serves until it is killed
		_ = cmd.Wait()
		_ = log.Close()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid, log.Name()
}

// relayTo takes every flow to one address: what the gateway and connector do, without policy.
type relayTo string

func (to relayTo) HandleTCP(ctx context.Context, r *tunnel.TCPRequest) {
	var d net.Dialer
	up, err := d.DialContext(ctx, "tcp", string(to))
	if err != nil {
		r.Reject(tunnel.RejectUnreachable)
		return
	}
	defer func() { _ = up.Close() }()
	c, err := r.Accept()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.WriteTo(up)
		_ = up.(*net.TCPConn).CloseWrite()
	}()
	_, _ = c.ReadFrom(up)
	_ = c.CloseWrite()
	<-done
}

func (relayTo) HandleUDP(_ context.Context, r *tunnel.UDPRequest) { r.Reject(tunnel.RejectProhibited) }

// liveHeap is the third number of a line of GODEBUG=gctrace=1: "4->5->3 MB" (package runtime).
var liveHeap = regexp.MustCompile(`(?m)^gc \d+ @.* (?:\d+)->(?:\d+)->(\d+) MB`)

func memoryOf(b *testing.B, when string, pid int, log string) memory {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	field := func(name string) float64 {
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				if err != nil {
					b.Fatalf("%q: %v", line, err)
				}
				return n
			}
		}
		b.Fatalf("no %s in the status of process %d", name, pid)
		return 0
	}
	m := memory{
		when: when, rss: field("VmRSS") / 1024, anon: field("RssAnon") / 1024, peak: field("VmHWM") / 1024,
		threads: int(field("Threads")),
	}
	text, err := os.ReadFile(log)
	if err != nil {
		b.Fatal(err)
	}
	if all := liveHeap.FindAllSubmatch(text, -1); len(all) > 0 {
		m.heap, _ = strconv.ParseFloat(string(bytes.TrimSpace(all[len(all)-1][1])), 64)
	}
	return m
}

func printMemory(weft, stock []memory) {
	var t strings.Builder
	fmt.Fprintf(&t, "\n%-18s %28s %28s %9s\n", "MiB", "warp-svc", "stock", "ratio")
	fmt.Fprintf(&t, "%-18s %7s %6s %6s %6s %7s %6s %6s %6s %9s\n", "",
		"RSS", "anon", "heap", "peak", "RSS", "anon", "heap", "peak", "of RSS")
	for i, m := range weft {
		s := stock[i]
		fmt.Fprintf(&t, "%-18s %7.1f %6.1f %6.0f %6.1f %7.1f %6.1f %6.0f %6.1f %9.2f\n", m.when,
			m.rss, m.anon, m.heap, m.peak, s.rss, s.anon, s.heap, s.peak, m.rss/s.rss)
	}
	_, _ = os.Stderr.WriteString(t.String())
}
