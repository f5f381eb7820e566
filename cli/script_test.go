package cli_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"weft/cli"
	"weft/internal/service"
	"weft/internal/service/servicetest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"warp-cli": runCLI})
}

// runCLI is the program of cmd/warp-cli with a version that does not change.
func runCLI() {
	self, err := exec.LookPath("warp-cli")
	if err != nil {
		self = os.Args[0]
	}
	os.Exit(cli.Main(context.Background(), cli.Config{
		Args:  os.Args[1:],
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Version: "1.2.3", Self: self, Host: fakeHost(),
	}))
}

// fakeHost is the system whose services the scripts manage: SERVICE_MANAGER below $WORK/system, as root or not. Never this one.
func fakeHost() *service.Host {
	if os.Getenv("SERVICE_ROOT") == "" {
		return nil
	}
	h, _, err := servicetest.Host(cmp.Or(os.Getenv("SERVICE_MANAGER"), "none"), os.Getenv("SERVICE_ROOT"), os.Getenv("SERVICE_USER") == "root")
	if err != nil {
		panic(err)
	}
	return &h
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup:         setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent": cmdAgent,
			"exits": cmdExits,
			"mode":  cmdMode,
			"head":  cmdHead,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// setupScript gives every script a short path for its socket, a clean
// environment, and a stand-in for ssh that prints its arguments.
func setupScript(env *testscript.Env) error {
	dir, err := os.MkdirTemp("", "weft")
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(dir) })
	env.Setenv("WARP_SOCKET", filepath.Join(dir, "a.sock"))
	env.Setenv("TZ", "UTC")
	system := filepath.Join(env.WorkDir, "system")
	env.Setenv("SERVICE_ROOT", system)
	if err := os.MkdirAll(system, 0o755); err != nil { // a script may have put files there
		return err
	}
	self, err := exec.LookPath("warp-cli")
	if err != nil {
		return err
	}
	env.Setenv("CLI", self) // for scripts that take PATH away
	for _, name := range []string{"WEFT_ENROLMENT", "WARP_VNET", "WARP_PROFILE", "NO_COLOR", "XDG_RUNTIME_DIR"} {
		env.Setenv(name, "")
	}
	bin := filepath.Join(env.WorkDir, "fakebin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bin, "ssh"), []byte("#!/bin/sh\nfor a in \"$@\"; do printf '[%s]\\n' \"$a\"; done\n"), 0o755)
}

// cmdAgent starts an agent: `agent [WORLD.json]`; or what is left of one: `agent stale` is
// a socket where nobody listens, `agent gone` closes every connection at once.
func cmdAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: agent [WORLD.json | stale | gone]")
	}
	socket := ts.Getenv("WARP_SOCKET")
	name := "testdata/seed.json"
	if len(args) == 1 {
		name = args[0]
	}
	var data []byte
	var err error
	switch {
	case name == "stale" || name == "gone":
		breakAgent(ts, socket, name == "stale")
		return
	case len(args) == 0:
		data, err = os.ReadFile(name)
		ts.Check(err)
	default:
		data = []byte(ts.ReadFile(name))
	}
	w, err := readWorld(data)
	ts.Check(err)
	log, err := os.Create(ts.MkAbs("requests"))
	ts.Check(err)
	stop, err := serveAgent(context.Background(), socket, w, log)
	ts.Check(err)
	ts.Defer(func() { ts.Check(errors.Join(stop(), log.Close())) })
}

func breakAgent(ts *testscript.TestScript, socket string, stale bool) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	ts.Check(err)
	if stale {
		ln.(*net.UnixListener).SetUnlinkOnClose(false)
		ts.Check(ln.Close())
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	ts.Defer(func() {
		ts.Check(ln.Close())
		<-done
	})
}

// cmdExits runs a command that must end with the given exit code: `exits 7 warp-cli vnet nowhere`.
// A failure must say something on stderr; with --json it must say nothing on stdout.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if want == 0 {
		return
	}
	if ts.ReadFile("stderr") == "" {
		ts.Fatalf("a failure without a word on stderr")
	}
	if out := ts.ReadFile("stdout"); out != "" && slices.Contains(args, "--json") {
		ts.Fatalf("a failure with --json wrote to stdout: %s", out)
	}
}
