// Package cli is the command line of the agent: cobra commands over the local
// API. Results go to stdout, everything else to stderr; every failure has an
// error code, an exit code (exitcode.go) and a next step.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"weft/agent/localapi/client"
	"weft/cli/render"
	"weft/internal/service"
)

// Config is what the command line gets from its process.
type Config struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	// Version of this program.
	Version string
	// Self is the path of this program, for the ssh client to call back; empty: found out.
	Self string
	// Host is the system whose services `service` manages; nil: this one.
	Host *service.Host
}

// app carries the flags and streams that every command shares.
type app struct {
	cfg     Config
	json    bool
	verbose int
	noANSI  bool
	listen  bool
	// noPaginate keeps long lists from the pager.
	noPaginate bool
	socket     string
	session    session
	// started says that the command line was understood: what fails from then on is no usage error.
	started bool
}

// Main runs one command and returns its exit code.
func Main(ctx context.Context, cfg Config) int {
	a := &app{cfg: cfg}
	root := newRoot(a) //nolint:contextcheck // cobra hands every command the context of ExecuteContext
	root.SetArgs(cfg.Args)
	root.SetIn(cfg.Stdin)
	root.SetOut(cfg.Stdout)
	root.SetErr(cfg.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return a.fail(err)
}

// client returns the client of the agent that the flags and the environment name.
func (a *app) client() *client.Client {
	c := client.New(a.socketPath())
	c.InSession(a.profileName(), a.session.forUser)
	if a.verbose > 0 {
		c.Trace(func(method, target string, status int, took time.Duration, err error) {
			fmt.Fprintf(a.cfg.Stderr, "warp-cli: %s %s: status %d in %s\n", method, target, status, took.Round(10*time.Microsecond))
			if err != nil && a.verbose > 1 {
				fmt.Fprintf(a.cfg.Stderr, "warp-cli: %s %s: %v\n", method, target, err)
			}
		})
	}
	return c
}

// socketPath returns --socket, else WARP_SOCKET, else "" for the default.
func (a *app) socketPath() string {
	if a.socket != "" {
		return a.socket
	}
	return a.cfg.Getenv("WARP_SOCKET")
}

// print writes v as JSON with --json, else calls text.
func (a *app) print(v any, text func(w io.Writer, st render.Style) error) error {
	if a.json {
		return a.printJSON(a.cfg.Stdout, v)
	}
	return text(a.cfg.Stdout, a.style(a.cfg.Stdout))
}

func (a *app) printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// printLine writes v as one line of JSON.
func (a *app) printLine(v any) error {
	enc := json.NewEncoder(a.cfg.Stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// redraw shows a picture that replaces the one before: on a terminal in its place, elsewhere below.
func (a *app) redraw(draw func(w io.Writer) error) error {
	var b strings.Builder
	if a.style(a.cfg.Stdout).Colour {
		b.WriteString("\x1b[H\x1b[2J")
	}
	if err := draw(&b); err != nil {
		return err
	}
	if _, err := io.WriteString(a.cfg.Stdout, b.String()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// note tells people something beside the result.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.cfg.Stderr, "Note: "+format+"\n", args...)
}

// style decides about colours on w.
func (a *app) style(w io.Writer) render.Style {
	f, ok := w.(*os.File)
	colour := ok && !a.noANSI && a.cfg.Getenv("NO_COLOR") == "" && a.cfg.Getenv("TERM") != "dumb" && isTerminal(f)
	return render.Style{Colour: colour}
}
