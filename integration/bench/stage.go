package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"weft/integration/lab"
)

const (
	email      = "bench@company.com"
	targetAddr = "10.30.0.5:9000"
)

// way is a path to the target.
type way struct {
	name  string
	proxy string
}

// dial opens a connection to the target through the way's SOCKS5 proxy.
func (w way) dial(ctx context.Context) (net.Conn, error) {
	d, err := proxy.SOCKS5("tcp", w.proxy, nil, proxy.Direct)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return d.(proxy.ContextDialer).DialContext(ctx, "tcp", targetAddr)
}

// stage is everything that runs during a benchmark.
type stage struct {
	dir       string
	bin       lab.Binaries
	env       lab.Env
	target    *target
	processes []*lab.Process
	relay     *exec.Cmd
	relayAddr string
	agentAddr string
	agentEnv  []string // added to the agent's environment
}

func (s *stage) ways() []way { return []way{{"relay", s.relayAddr}, {"weft", s.agentAddr}} }

func newStage(ctx context.Context) (*stage, error) {
	dir, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for _, f := range []func(context.Context) error{s.build, s.startRelay, s.startServers, s.startAgent} {
		if err := f(ctx); err != nil {
			return nil, s.end(err)
		}
	}
	return s, nil
}

func (s *stage) build(ctx context.Context) error {
	repo, err := lab.Repository()
	if err != nil {
		return err
	}
	if s.target, err = newTarget(); err != nil {
		return err
	}
	s.bin, err = lab.Build(ctx, repo, filepath.Join(s.dir, "bin"))
	return err
}

func (s *stage) startRelay(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.relay = lab.Command{Args: []string{self}, Env: []string{relayEnv + "=" + s.target.l.Addr().String()}}.Exec(context.WithoutCancel(ctx))
	out, err := s.relay.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.relay.Start(); err != nil {
		s.relay = nil
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	s.relayAddr = strings.TrimSpace(line)
	return err
}

func (s *stage) start(ctx context.Context, name string, args ...string) (*lab.Process, error) {
	return s.startEnv(ctx, name, nil, args...)
}

func (s *stage) startEnv(ctx context.Context, name string, env []string, args ...string) (*lab.Process, error) {
	p, err := lab.Start(ctx, lab.Command{Name: name, LogDir: s.dir, Args: args, Env: env})
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return p, err
}

// startServers starts weft dev, which also runs the connector, and creates what leads to the target.
func (s *stage) startServers(ctx context.Context) error {
	devDir, ready := filepath.Join(s.dir, "dev"), filepath.Join(s.dir, "ready")
	p, err := s.start(ctx, "weft-dev", s.bin.Weft, "dev", "--dir", devDir, "--ready-file", ready,
		"--connector", "bench,"+targetAddr+"="+s.target.l.Addr().String())
	if err != nil {
		return err
	}
	if err := p.AwaitFile(ctx, ready); err != nil {
		return err
	}
	if s.env, err = lab.DevEnv(ctx, s.bin, devDir, email, ""); err != nil {
		return err
	}
	return createObjects(ctx, s.env)
}

// createObjects makes the network, route, target and application that lead to the target; the tunnel is there.
func createObjects(ctx context.Context, env lab.Env) error {
	api, err := env.API()
	if err != nil {
		return err
	}
	defer api.Close()
	network, err := api.CreateNetwork(ctx, "bench", "")
	if err != nil {
		return err
	}
	tunnel, err := api.TunnelID(ctx, "bench")
	if err != nil {
		return err
	}
	at := netip.MustParseAddrPort(targetAddr)
	if _, err := api.CreateRoute(ctx, netip.PrefixFrom(at.Addr(), 16).Masked(), tunnel, network); err != nil {
		return err
	}
	if _, err := api.CreateTarget(ctx, "target", at.Addr(), network); err != nil {
		return err
	}
	_, err = api.CreateApplication(ctx, lab.Application{Name: "bench", Hostnames: []string{"target"}, Port: at.Port(), Protocol: "TCP", Emails: []string{email}})
	return err
}

func (s *stage) startAgent(ctx context.Context) error {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	s.agentAddr = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	socket := filepath.Join(s.dir, "sock")
	p, err := s.startEnv(ctx, "warp-svc", s.agentEnv, s.bin.Svc, "run", "--state-dir", filepath.Join(s.dir, "agent"), "--socket", socket, "--proxy-listen", s.agentAddr)
	if err != nil {
		return err
	}
	if err := p.AwaitSocket(ctx, socket); err != nil {
		return err
	}
	for _, args := range [][]string{{"registration", "new", s.env["WEFT_ENROLMENT"]}, {"connect"}, {"vnet", "bench"}} {
		out, err := lab.Command{Args: append([]string{s.bin.CLI, "--socket", socket}, args...)}.Exec(ctx).CombinedOutput()
		if err != nil {
			return fmt.Errorf("warp-cli %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// end stops everything and keeps the logs when cause is an error.
func (s *stage) end(cause error) error {
	var errs []error
	for _, p := range slices.Backward(s.processes) {
		errs = append(errs, p.Stop(10*time.Second))
	}
	if s.relay != nil {
		_ = s.relay.Cancel() // it serves until it is killed
		_ = s.relay.Wait()
	}
	if s.target != nil {
		errs = append(errs, s.target.close())
	}
	if cause != nil {
		return errors.Join(cause, fmt.Errorf("the logs are in %s", s.dir))
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
