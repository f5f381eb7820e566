package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/integration/lab"
)

// The actors of the demo.
const (
	email      = "jdoe@company.com"
	login      = "demo" // the UNIX user that the policy grants
	wrongLogin = "root" // one that it does not
	prefix     = "10.20.0.0/16"
	address    = "10.20.0.5" // of host-a in staging and of host-b in production
	sshdName   = "openssh"
	sshdAddr   = "10.20.0.6"
)

// demo is one performance.
type demo struct {
	out    io.Writer
	dir    string
	socket string
	goSSH  bool

	bin       lab.Binaries
	env       lab.Env
	api       *lab.API
	processes []*lab.Process // in the order of their start
	hosts     map[string]*host
	sshd      *sshd
	caKey     string
	networks  map[string]string // name to ID
	tokens    map[string]string // network name to its tunnel's token
	proxy     string
	stream    *stream

	stopHosts context.CancelFunc
	hostsDone sync.WaitGroup
}

func newDemo(goSSH bool, out io.Writer) (*demo, error) {
	dir, err := os.MkdirTemp("", "weft-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	d := &demo{
		out: out, dir: dir, socket: filepath.Join(dir, "agent.sock"), goSSH: goSSH,
		networks: map[string]string{}, tokens: map[string]string{}, hosts: map[string]*host{},
	}
	if runtime.GOOS == "windows" {
		d.socket = `\\.\pipe\` + filepath.Base(dir)
	}
	if _, err := exec.LookPath("ssh"); err != nil {
		d.goSSH = true
	}
	return d, nil
}

// step is one thing that must hold; advice says what to do when it does not.
type step struct {
	title  string
	advice string
	limit  time.Duration
	run    func(ctx context.Context) (seen string, err error)
}

func (d *demo) steps() []step {
	const soon, slow = 20 * time.Second, 5 * time.Minute
	return []step{
		{"build weft, warp-svc and warp-cli (a minute or two the first time)", "see that `go build ./...` works here (Go 1.26 or later)", slow, d.build},
		{"start weft dev: control plane and gateway in one process", "read weft-dev.log; is something else using the loopback ports?", soon, d.startDev},
		{"create two virtual networks, each with a tunnel for " + prefix, "read weft-dev.log", soon, d.createNetworks},
		{"start two hosts that trust the SSH authority, and a real sshd", "read weft-dev.log and sshd.log", soon, d.startHosts},
		{"create targets at " + address + " in both networks, and a policy for " + email, "read weft-dev.log", soon, d.createTargets},
		{"connect a connector from each private network", "read connector-staging.log and connector-production.log", soon, d.startConnectors},
		{"start the agent, enrol it and connect", "read warp-svc.log", soon, d.startAgent},
		{"list the targets", "read warp-svc.log: does it hear the control plane?", soon, d.listTargets},
		{"log in to both hosts by name", "read weft-dev.log: the gateway says why it refused or what it could not reach", soon, d.logInToBoth},
		{"log in to the real sshd", "read sshd.log", soon, d.logInToSSHD},
		{"start a stream on host-a", "read weft-dev.log", soon, d.startStream},
		{"switch to production: the same address is another host", "read warp-svc.log", soon, d.switchNetwork},
		{"see that the stream on host-a went on without a gap", "read warp-svc.log and weft-dev.log: what cut the connection?", soon, d.checkStream},
		{"try a UNIX user that the policy does not grant", "read weft-dev.log", soon, d.tryWrongLogin},
		{"check the gateway from outside with weft probe", "read weft-dev.log", soon, d.probe},
	}
}

// play performs the steps and stops at the first that fails.
func (d *demo) play(ctx context.Context) error {
	say(d.out, "Weft: two private networks with the same addresses, one agent. Everything is below %s\n\n", d.dir)
	steps := d.steps()
	begin := time.Now()
	for i, s := range steps {
		say(d.out, "[%2d/%d] %s ", i+1, len(steps), s.title)
		start := time.Now()
		seen, err := d.perform(ctx, s)
		if err != nil {
			say(d.out, "... FAILED after %s\n", seconds(start))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("step %d (%s): %w\nwhat to do: %s", i+1, s.title, err, s.advice)
		}
		say(d.out, "... %s\n", seconds(start))
		for line := range strings.Lines(seen) {
			say(d.out, "        %s\n", strings.TrimRight(line, "\n"))
		}
	}
	say(d.out, "\nevery step held, in %s\n", seconds(begin))
	return nil
}

func (d *demo) perform(ctx context.Context, s step) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	return s.run(ctx)
}

func seconds(since time.Time) string { return fmt.Sprintf("%.2f s", time.Since(since).Seconds()) }

// end stops everything that was started, last first, and returns the exit status.
func (d *demo) end(err error, stderr io.Writer) int {
	interrupted := errors.Is(err, context.Canceled)
	if err != nil && !interrupted {
		say(stderr, "\ndemo: %v\n", err)
	}
	if stopErr := d.stopAll(); stopErr != nil {
		say(stderr, "demo: %v\n", stopErr)
		err = errors.Join(err, stopErr)
	}
	if err != nil && !interrupted {
		say(stderr, "the logs are in %s\n", d.dir)
		return 1
	}
	if removeErr := os.RemoveAll(d.dir); removeErr != nil {
		say(stderr, "demo: remove the folder: %v\n", removeErr)
		return 1
	}
	if interrupted {
		return 130
	}
	return 0
}

func (d *demo) stopAll() error {
	var errs []error
	if d.stream != nil {
		errs = append(errs, d.stream.stop())
	}
	for _, p := range slices.Backward(d.processes) {
		errs = append(errs, p.Stop(10*time.Second))
	}
	if d.stopHosts != nil {
		d.stopHosts()
		d.hostsDone.Wait()
	}
	if d.api != nil {
		d.api.Close()
	}
	return errors.Join(errs...)
}

// start runs a program until the end of the demo.
func (d *demo) start(ctx context.Context, name string, args ...string) (*lab.Process, error) {
	p, err := lab.Start(ctx, lab.Command{Name: name, LogDir: d.dir, Args: args})
	if err == nil {
		d.processes = append(d.processes, p)
	}
	return p, err
}

// invitation says what to try while it runs.
func (d *demo) invitation() string {
	return fmt.Sprintf(`
It is running. In another terminal:

  export WARP_SOCKET=%s
  export PATH=%s:$PATH

  warp-cli target list
  warp-cli status
  warp-cli vnet
  warp-cli ssh %s@host-a                  commands there: hostname, ticks 5, whoami, exit
  warp-cli ssh %s@%s                (switch with: warp-cli vnet staging)
  ssh -o ProxyCommand="nc -X 5 -x %s %%h %%p" %s@%s

  eval "$(weft dev env --dir %s)"         the management API, for curl and Terraform
  tail -f %s

Ctrl-C ends everything and removes the folder.
`, d.socket, filepath.Dir(d.bin.CLI), login, login, address, d.proxy, login, address, d.devDir(), filepath.Join(d.devDir(), "audit.jsonl"))
}

func (d *demo) devDir() string { return filepath.Join(d.dir, "dev") }
