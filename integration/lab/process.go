package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Command says what to run and where.
type Command struct {
	// Name is for messages and for the log file, NAME.log.
	Name string
	// LogDir receives what the program writes to both its outputs.
	LogDir string
	// Netns is a named network namespace (Linux, root); empty: this one.
	Netns string
	Args  []string
	// Env is added to this process's environment.
	Env []string
}

// argv is the command line with the namespace in front.
func (c Command) argv() []string {
	if c.Netns == "" {
		return c.Args
	}
	return append([]string{"ip", "netns", "exec", c.Netns}, c.Args...)
}

// Exec prepares the command for a caller that handles its streams itself; it ends with ctx.
func (c Command) Exec(ctx context.Context) *exec.Cmd {
	argv := c.argv()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Process is a program under way, in a process group of its own.
type Process struct {
	Name    string
	LogPath string
	cmd     *exec.Cmd
	log     *os.File
	done    chan struct{}
	err     error // valid once done is closed
}

// Start runs c in the background until it ends, Stop or Kill. The end of ctx does not end it: a test's context is over
// before its clean-up runs.
func Start(ctx context.Context, c Command) (*Process, error) {
	p := &Process{Name: c.Name, LogPath: filepath.Join(c.LogDir, c.Name+".log"), done: make(chan struct{})}
	var err error
	if p.log, err = os.OpenFile(p.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", c.Name, err)
	}
	p.cmd = c.Exec(context.WithoutCancel(ctx))
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := startCommand(p.cmd); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.Name, err), p.log.Close())
	}
	go func() {
		p.err = errors.Join(p.cmd.Wait(), p.log.Close())
		close(p.done)
	}()
	return p, nil
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the process to end (SIGTERM), kills it when it has not after grace, and returns how it ended: nil only for
// exit status 0 without being killed.
func (p *Process) Stop(grace time.Duration) error {
	select {
	case <-p.done:
		return p.outcome()
	default:
	}
	if err := terminate(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("end %s: %w", p.Name, err), p.Kill())
	}
	select {
	case <-p.done:
		// What it left behind in its group (sshd's sessions, for example) must not outlive it.
		if err := killGroup(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return errors.Join(p.outcome(), err)
		}
		return p.outcome()
	case <-time.After(grace):
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM and was killed", p.Name, grace), p.Kill())
	}
}

// Kill ends the process and its group at once and waits for it.
func (p *Process) Kill() error {
	err := killGroup(p.cmd.Process)
	<-p.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (p *Process) outcome() error {
	if p.err != nil {
		return fmt.Errorf("%s ended: %w\n%s", p.Name, p.err, p.Tail(15))
	}
	return nil
}

// Tail returns the last lines of the log.
func (p *Process) Tail(lines int) string {
	b, err := os.ReadFile(p.LogPath)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// AwaitFile waits until path exists, p ends, or ctx ends.
func (p *Process) AwaitFile(ctx context.Context, path string) error {
	return p.await(ctx, "write "+path, func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// await polls ok until it holds, p ends, or ctx ends.
func (p *Process) await(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it could %s: %w\n%s", p.Name, what, errors.Join(p.err, errEnded), p.Tail(15))
		case <-ctx.Done():
			return fmt.Errorf("%s did not %s: %w\n%s", p.Name, what, ctx.Err(), p.Tail(15))
		case <-tick.C:
		}
	}
	return nil
}

var errEnded = errors.New("the process has ended")

// AwaitSocket waits until something listens on the local API's socket.
func (p *Process) AwaitSocket(ctx context.Context, path string) error {
	return p.AwaitFile(ctx, path)
}
