// Package manpage makes a manual page of what a program's commands say about themselves
// with --help: one page per program with every command in it. So the pages cannot part
// from the commands, and no program links a generator.
package manpage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Page names a page.
type Page struct {
	Program string // the path of the program; its last element is its name
	Name    string
	Section int
	Version string
	Date    time.Time
	SeeAlso []string // such as "warp-cli(1)"
}

// maxDepth bounds commands within commands.
const maxDepth = 4

// help is what --help says, in parts.
type help struct {
	words    []string // the command line without --help
	text     []string // the description
	usage    []string
	examples []string
	commands []command
	flags    []string
}

type command struct{ name, short string }

// Generate asks the program and returns the page in roff (man(7)).
func Generate(ctx context.Context, p Page) (string, error) {
	root, err := ask(ctx, p.Program, []string{p.Name})
	if err != nil {
		return "", err
	}
	var w writer
	w.line(fmt.Sprintf(`.TH %s %d %s "Weft %s" "Weft manual"`, strings.ToUpper(p.Name), p.Section, p.Date.UTC().Format("2006-01-02"), p.Version))
	w.section("NAME")
	w.text(p.Name + " - " + root.title())
	w.section("SYNOPSIS")
	w.verbatim(root.usage)
	w.section("DESCRIPTION")
	w.verbatim(root.text)
	w.examples(root)
	if len(root.flags) > 0 {
		w.section("OPTIONS")
		w.verbatim(root.flags)
	}
	w.section("COMMANDS")
	if err := w.commands(ctx, p.Program, root, 1); err != nil {
		return "", err
	}
	if len(p.SeeAlso) > 0 {
		w.section("SEE ALSO")
		w.text(strings.Join(p.SeeAlso, ", "))
	}
	return w.b.String(), nil
}

// ask runs the command with --help, in an environment that does not show in defaults.
func ask(ctx context.Context, program string, words []string) (help, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(append([]string{}, words[1:]...), "--help")...)
	cmd.Env = []string{"HOME=/nonexistent", "LC_ALL=C", "PATH=/usr/bin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		return help{}, fmt.Errorf("ask %s for help: %w", strings.Join(words, " "), err)
	}
	h := parse(string(out))
	h.words = words
	if len(h.usage) == 0 {
		return help{}, errors.New(strings.Join(words, " ") + " --help has no usage")
	}
	return h, nil
}

// parse reads the parts of a help text; what it does not know it takes as description.
func parse(out string) (h help) {
	part := &h.text
	sc := bufio.NewScanner(strings.NewReader(out))
	for sc.Scan() {
		line := strings.TrimRight(sc.Text(), " \t")
		switch {
		case line == "Usage:":
			part = &h.usage
		case line == "Examples:":
			part = &h.examples
		case line == "Flags:":
			part = &h.flags
		case line == "Global Flags:" || strings.HasPrefix(line, `Use "`):
			part = new([]string) // said of the program already
		case line == "Available Commands:":
			part = nil
		case part == nil:
			if name, short, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				h.commands = append(h.commands, command{name, strings.TrimSpace(short)})
			}
		default:
			*part = append(*part, line)
		}
	}
	for _, p := range []*[]string{&h.text, &h.usage, &h.examples, &h.flags} {
		*p = trim(*p)
	}
	return h
}

// trim drops empty lines at both ends.
func trim(lines []string) []string {
	for len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// title is the first clause of the description.
func (h help) title() string {
	first := strings.Join(h.text, " ")
	for _, end := range []string{". ", ": ", "; "} {
		first, _, _ = strings.Cut(first, end)
	}
	first = strings.TrimSuffix(first, ".")
	for _, begin := range []string{h.words[0] + " is ", h.words[0] + " "} {
		first = strings.TrimPrefix(first, begin)
	}
	return first
}

// writer collects roff.
type writer struct{ b strings.Builder }

func (w *writer) line(s string) { w.b.WriteString(s + "\n") }

func (w *writer) section(name string) { w.line(".SH " + name) }

// text writes lines that may be filled.
func (w *writer) text(lines ...string) {
	for _, l := range lines {
		w.line(escape(l))
	}
}

// verbatim keeps lines as they are.
func (w *writer) verbatim(lines []string) {
	w.line(".nf")
	w.text(lines...)
	w.line(".fi")
}

func (w *writer) examples(h help) {
	if len(h.examples) > 0 {
		w.line(".SH EXAMPLES")
		w.verbatim(h.examples)
	}
}

func (w *writer) commands(ctx context.Context, program string, parent help, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: commands are nested more than %d deep", strings.Join(parent.words, " "), maxDepth)
	}
	for _, c := range parent.commands {
		if c.name == "help" || c.name == "completion" && depth > 1 {
			continue
		}
		h, err := ask(ctx, program, append(append([]string{}, parent.words...), c.name))
		if err != nil {
			return err
		}
		w.line(".SS " + escape(strings.Join(h.words, " ")))
		w.text(c.short + ".")
		w.line(".PP")
		w.verbatim(h.usage)
		for _, part := range [][]string{h.text, h.examples, h.flags} {
			if len(part) > 0 && strings.Join(part, " ") != c.short {
				w.line(".PP")
				w.verbatim(part)
			}
		}
		if c.name == "completion" {
			continue // its commands are the shells
		}
		if err := w.commands(ctx, program, h, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// escape makes s text: no control line, no escape sequence, and hyphens that can be copied.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
