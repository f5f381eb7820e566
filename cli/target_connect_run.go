package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"weft/agent/localapi/client"
	"weft/cli/render"
)

// runThrough runs a program with a door open, and ends with its status.
func (a *app) runThrough(ctx context.Context, d *door, to *connection, t *programTemplate) error {
	values := map[string]string{
		"host": d.host, "port": strconv.Itoa(int(d.port)), "addr": d.addr(), "user": to.user, "target": to.target, "vnet": to.vnet,
	}
	if d.path != "" {
		values["host"], values["port"] = d.path, ""
	}
	argv, err := expandAll(t.argv, values)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return a.noProgram(argv[0], t.pkg, to, err)
	}
	env := os.Environ()
	if t.kubeconfig {
		file, remove, err := writeKubeconfig(d, to)
		if err != nil {
			return err
		}
		defer remove()
		env = append(env, "KUBECONFIG="+file)
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = a.cfg.Stdin, a.cfg.Stdout, a.cfg.Stderr, env
	return a.await(ctx, cmd, d, t)
}

// childContext is what a program and its door live by. At a terminal a key sends an interrupt to the whole group, and it
// is for the program: psql ends a query by it, not itself. Then only SIGTERM ends both.
func (a *app) childContext(ctx context.Context, t *programTemplate) (context.Context, func()) {
	if in, ok := a.cfg.Stdin.(*os.File); !ok || !isTerminal(in) || t.launches {
		return ctx, func() {}
	}
	return signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM)
}

// childGrace is how long a program may take to end when it is asked to.
const childGrace = 5 * time.Second

// await runs cmd to its end.
func (a *app) await(ctx context.Context, cmd *exec.Cmd, d *door, t *programTemplate) error {
	cmd.WaitDelay = childGrace
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return cmd.Process.Kill() // a system without interrupts
		}
		return nil
	}
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		if code := e.ExitCode(); code >= 0 {
			return exitStatus(code)
		}
		return exitStatus(128 + signalOf(e)) // as shells have it
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	if t.launches {
		a.note("the program was started; %s leads to %s until interrupted", d.addr(), render.Clean(d.to.target))
		return d.wait(ctx, 0)
	}
	return nil
}

// noProgram says what to install, and how to go on without it.
func (a *app) noProgram(name, pkg string, to *connection, err error) error {
	hint := "or use any other program: warp-cli target connect " + joinTarget(to) + " --print   (prints the address to use)"
	if pkg != "" {
		hint = "install it (package " + pkg + ")\n" + hint
	}
	return &client.Error{Code: codeNoProgram, Message: fmt.Sprintf("%s is not installed, or not in PATH", name), Hint: hint, Err: err}
}

func joinTarget(to *connection) string {
	s := to.target + ":" + strconv.Itoa(int(to.dial.Port))
	if to.vnet != "" {
		s += " --vnet " + to.vnet
	}
	return s
}

// writeKubeconfig makes a configuration for one cluster without any credential: those are the user's own, whose
// current context it takes when there is one. The server's certificate is checked against the target's name.
func writeKubeconfig(d *door, to *connection) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "weft-kube-")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for kubectl: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) } // what stays behind holds no secret
	path = filepath.Join(dir, "config")
	text := kubeconfig(d.addr(), to.target)
	if own := ownKubeconfig(os.Getenv); own != "" {
		// kubectl merges: the first file to set a value wins, so the cluster is ours and the user theirs.
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", remove, err
		}
		return path + string(os.PathListSeparator) + own, remove, nil
	}
	return path, remove, os.WriteFile(path, []byte(text), 0o600)
}

// ownKubeconfig is where the user's configuration is; empty: nowhere.
func ownKubeconfig(getenv func(string) string) string {
	if s := getenv("KUBECONFIG"); s != "" {
		return s
	}
	home := getenv("HOME")
	if home == "" {
		home = getenv("USERPROFILE")
	}
	path := filepath.Join(home, ".kube", "config")
	if _, err := os.Stat(path); home == "" || err != nil {
		return ""
	}
	return path
}

// kubeconfig is JSON, which every reader of YAML takes, so that nothing in a name can break out.
func kubeconfig(addr, target string) string {
	q := strconv.Quote
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "weft",
 "clusters": [{"name": "weft", "cluster": {"server": %s, "tls-server-name": %s}}],
 "contexts": [{"name": "weft", "context": {"cluster": "weft", "user": %s}}]}
`, q("https://"+addr), q(target), q(target))
}
