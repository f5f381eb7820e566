package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/term"

	"weft/cli/render"
)

// defaultPager is less as git runs it: it ends by itself when the text fits (F), keeps colours (R) and
// leaves the text on the screen (X).
const defaultPager = "less -FRX"

// paged writes a long text for people through the pager; a short one, and everything that does not go to a
// terminal, directly. A pager that cannot be run or fails is no reason to show nothing.
func (a *app) paged(ctx context.Context, write func(io.Writer) error) error {
	out, ok := a.cfg.Stdout.(*os.File)
	if !ok || !a.mayPage() || !isTerminal(out) {
		return write(a.cfg.Stdout)
	}
	var text bytes.Buffer
	if err := write(&text); err != nil {
		return err
	}
	columns, lines, err := term.GetSize(int(out.Fd()))
	if err == nil && render.Height(text.Bytes(), columns) > lines-1 {
		if a.runPager(ctx, out, text.Bytes()) {
			return nil
		}
	}
	_, err = out.Write(text.Bytes())
	return err
}

func (a *app) mayPage() bool {
	return !a.noPaginate && !a.json && a.cfg.Getenv("TERM") != "dumb"
}

// pagerCommand is WARP_PAGER, else PAGER, else less; nil when one of them asks for none.
func (a *app) pagerCommand() []string {
	command := defaultPager
	for _, name := range []string{"PAGER", "WARP_PAGER"} {
		if v := a.cfg.Getenv(name); v != "" {
			command = v
		}
	}
	argv, err := splitWords(command)
	if err != nil || len(argv) == 0 || argv[0] == "cat" {
		return nil
	}
	return argv
}

// runPager reports whether the pager showed the text.
func (a *app) runPager(ctx context.Context, out *os.File, text []byte) bool {
	argv := a.pagerCommand()
	if argv == nil {
		return false
	}
	// The interrupt key is the pager's while it runs: it must outlive ours.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), out, a.cfg.Stderr
	cmd.Env = os.Environ()
	if a.cfg.Getenv("LESS") == "" {
		cmd.Env = append(cmd.Env, "LESS=FRX")
	}
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() < 0 {
		return true // somebody ended it by a signal
	}
	if err != nil {
		a.note("the pager %q failed: %v", strings.Join(argv, " "), err)
	}
	return err == nil
}

// splitWords splits a command line into words without any shell: blanks part them, '...' and "..." keep blanks, and
// a backslash outside of '...' keeps the character that follows, and {{...}} outside of quotes stays whole.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	open, quote, escaped, action := false, rune(0), false, 0
	for i, r := range s {
		switch {
		case i < action:
			word.WriteRune(r)
		case quote == 0 && !escaped && strings.HasPrefix(s[i:], "{{") && strings.Contains(s[i:], "}}"):
			action = i + strings.Index(s[i:], "}}") + len("}}")
			word.WriteRune(r)
			open = true
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, open = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is not closed")
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}
