package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weft/agent/localapi/client"
	"weft/cli/render"
	"weft/internal/kind"
)

func newTargetPick(a *app) *cobra.Command {
	var f targetFilter
	var ssh, connect bool
	cmd := &cobra.Command{
		Use:   "pick",
		Short: "Choose a target with the keyboard, and print its name",
		Long: `Shows the targets on the terminal: type to narrow the list (parts of name, protocol,
port, attributes and users, in any order), move with the arrows, choose with Enter. The name is
printed on stdout, so that it can be another command's argument. Escape chooses nothing.

With --ssh it logs in to the target at once, with --connect it runs "target connect" on it.`,
		Example: `  warp-cli target pick --ssh
  ssh -o ProxyCommand="warp-cli nc %h %p" "root@$(warp-cli target pick --username root)"`,
		Args: args(0, 0, "[filters]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query()
			if err != nil {
				return err
			}
			if ssh && connect {
				return usageErrorHint("leave out one of the two", "--ssh and --connect contradict each other")
			}
			if ssh {
				q.Protocols = []string{"SSH"}
			}
			c, err := a.pick(cmd.Context(), q, ssh)
			if err != nil {
				return err
			}
			return a.picked(cmd.Context(), c, ssh, connect)
		},
	}
	f.flags(a, cmd)
	cmd.Flags().BoolVar(&ssh, "ssh", false, "log in to the target by SSH")
	cmd.Flags().BoolVar(&connect, "connect", false, "open a local port to the target and run the program for its protocol")
	return cmd
}

// picked does what was asked for with the choice.
func (a *app) picked(ctx context.Context, c choice, ssh, connect bool) error {
	port := strconv.Itoa(int(c.row.Port))
	switch {
	case ssh:
		line, err := parseSSH([]string{"-p", port, c.name})
		if err != nil {
			return err
		}
		return a.ssh(ctx, line)
	case connect:
		return a.targetConnect(ctx, c.name+":"+port, nil, &connectOptions{})
	default:
		_, err := fmt.Fprintln(a.cfg.Stdout, c.name)
		return err
	}
}

// choice is one line of the picker.
type choice struct {
	name string
	row  *render.Row
	text string // what is shown and searched
}

// choicesOf makes a line for each row; for ssh one for each of its users.
func choicesOf(rows []render.Row, ssh bool) []choice {
	var all []choice
	for i, name := range render.UniqueNames(rows) {
		r := &rows[i]
		who := strings.Join(r.Usernames, ",")
		tags, _ := render.FindColumn("tags")
		text := strings.TrimSpace(fmt.Sprintf("%s  %s %d  %s  %s", render.Name(r.Target), r.Protocol, r.Port, who, tags.Text(r)))
		if !ssh || len(r.Usernames) == 0 {
			all = append(all, choice{name: name, row: r, text: render.Clean(text)})
			continue
		}
		for _, u := range r.Usernames {
			all = append(all, choice{name: u + "@" + name, row: r, text: render.Clean(fmt.Sprintf("%s@%s  %d  %s", u, render.Name(r.Target), r.Port, tags.Text(r)))})
		}
	}
	slices.SortStableFunc(all, func(x, y choice) int { return strings.Compare(strings.ToLower(x.text), strings.ToLower(y.text)) })
	return all
}

// pick lets the user choose. It draws on stderr, so that stdout holds nothing but the choice.
func (a *app) pick(ctx context.Context, q client.Query, ssh bool) (choice, error) {
	in, inOK := a.cfg.Stdin.(*os.File)
	out, outOK := a.cfg.Stderr.(*os.File)
	if !inOK || !outOK || !isTerminal(in) || !isTerminal(out) || a.json {
		return choice{}, usageErrorHint("in a script use: warp-cli target list --output name",
			"target pick needs a terminal (stdin and stderr) for its list")
	}
	l, err := a.client().Targets(ctx, q)
	if err != nil {
		return choice{}, err
	}
	p := picker{all: choicesOf(listOf(l).Targets, ssh)}
	if len(p.all) == 0 {
		return choice{}, &client.Error{Code: string(kind.NotFound), Message: "there is no target to choose from", Hint: "without filters: warp-cli target list"}
	}
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return choice{}, fmt.Errorf("read single keys: %w", err)
	}
	chosen, err := p.run(ctx, in, out)
	if rerr := term.Restore(int(in.Fd()), old); err == nil && rerr != nil {
		err = fmt.Errorf("give the terminal back: %w", rerr)
	}
	return chosen, err
}

// run reads keys and draws until there is a choice.
func (p *picker) run(ctx context.Context, in io.Reader, out *os.File) (choice, error) {
	p.filter()
	keys := make(chan []byte, 1)
	ask := make(chan struct{}, 1)
	defer close(ask)
	go readKeys(in, ask, keys)
	asked := false
	resized, unnotify := notifyResize()
	defer unnotify()
	up := 0
	var pending []byte // the beginning of a key
	var late <-chan time.Time
	for {
		columns, height, err := term.GetSize(int(out.Fd()))
		if err != nil || columns < 1 || height < 3 {
			columns, height = defaultColumns, defaultLines
		}
		drawn := p.view(columns, min(height-1, maxPickLines))
		if _, err := io.WriteString(out, redrawn(up, drawn)); err != nil {
			return choice{}, fmt.Errorf("draw list: %w", err)
		}
		up = len(drawn)
		if !asked {
			ask <- struct{}{}
			asked = true
		}
		select {
		case <-resized:
			continue
		case <-ctx.Done():
			return choice{}, p.leave(out, up, ctx.Err())
		case chunk, ok := <-keys:
			if !ok {
				return choice{}, p.leave(out, up, exitStatus(exitInterrupted))
			}
			asked = false
			pending = append(pending, chunk...)
			if isUnfinished(pending) {
				late = time.After(escapeDelay)
				continue
			}
		case <-late:
		}
		switch p.pressAll(parseKeys(pending)) {
		case goOn:
		case took:
			return p.found[p.at], p.leave(out, up, nil)
		case left:
			return choice{}, p.leave(out, up, exitStatus(exitInterrupted))
		}
		pending, late = nil, nil
	}
}

// escapeDelay is how long the rest of a key's sequence may take on its way; after it, an escape is the Escape key.
const escapeDelay = 50 * time.Millisecond

// leave wipes the list away.
func (p *picker) leave(out io.Writer, up int, err error) error {
	_, werr := io.WriteString(out, redrawn(up, nil))
	return errors.Join(err, werr)
}

// maxPickLines bounds the height of the list.
const maxPickLines = 16

// redrawn draws lines where the last up lines were.
func redrawn(up int, drawn []string) string {
	var b strings.Builder
	if up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r\x1b[J")
	for _, line := range drawn {
		b.WriteString(line + "\r\n")
	}
	return b.String()
}

// readKeys sends what is typed next each time that it is asked, and never reads unasked: what is typed after the choice is
// for the program that the choice leads to. A read that waits when nothing was chosen ends with the program.
func readKeys(in io.Reader, ask <-chan struct{}, keys chan<- []byte) {
	defer close(keys)
	for range ask {
		b := make([]byte, 256)
		n, err := in.Read(b)
		if n > 0 {
			keys <- b[:n] // has room: nobody asks twice without taking
		}
		if err != nil {
			return
		}
	}
}
