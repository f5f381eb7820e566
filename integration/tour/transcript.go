package tour

import (
	"fmt"
	"strings"
)

// Step is one command of a transcript and what the document says it shows.
type Step struct {
	// Line is where the command begins in the document, from 1.
	Line int
	// Command is the shell text, several lines for one that goes on behind "> ".
	Command string
	// Output is what follows it up to the next command, each line with its end.
	Output string
}

const (
	blockBegin = "```console"
	blockEnd   = "```"
	prompt     = "$ "
	more       = "> "
)

// Steps reads the console blocks of a document: lines behind "$ " are commands, those behind "> " go on with them, all
// others are output.
func Steps(document string) ([]Step, error) {
	var steps []Step
	err := walk(document, func(line int, kind lineKind, text string) error {
		switch kind {
		case isCommand:
			steps = append(steps, Step{Line: line, Command: text})
		case isMore:
			steps[len(steps)-1].Command += "\n" + text
		case isOutput:
			steps[len(steps)-1].Output += text + "\n"
		case isProse: // between the blocks
		}
		return nil
	})
	return steps, err
}

// Replace returns the document with outputs in the place of those of its steps, in order.
func Replace(document string, outputs []string) (string, error) {
	var b strings.Builder
	next := 0
	flush := func() {
		if next > 0 {
			b.WriteString(outputs[next-1])
		}
	}
	pending := false
	err := walk(document, func(_ int, kind lineKind, text string) error {
		if pending && (kind == isCommand || kind == isProse) {
			flush()
			pending = false
		}
		switch kind {
		case isCommand:
			if next++; next > len(outputs) {
				return fmt.Errorf("%d outputs are too few", len(outputs))
			}
			pending = true
			b.WriteString(prompt + text + "\n")
		case isMore:
			b.WriteString(more + text + "\n")
		case isProse:
			b.WriteString(text + "\n")
		case isOutput: // replaced
		}
		return nil
	})
	return b.String(), err
}

type lineKind int

const (
	isProse lineKind = iota
	isCommand
	isMore
	isOutput
)

// walk tells each line, counted from 1, with what it is; the marks of commands are taken off.
func walk(document string, tell func(line int, kind lineKind, text string) error) error {
	inside, output, commands := false, false, 0
	n := 0
	for raw := range strings.Lines(document) {
		n++
		text := strings.TrimSuffix(raw, "\n")
		kind := isProse
		switch {
		case !inside:
			inside, output, commands = text == blockBegin, false, 0
		case text == blockEnd:
			inside = false
		case strings.HasPrefix(text, prompt):
			kind, text, output = isCommand, strings.TrimPrefix(text, prompt), false
			commands++
		case commands == 0:
			return fmt.Errorf("line %d: output before the first command of its block", n)
		case strings.HasPrefix(text, more) && !output:
			kind, text = isMore, strings.TrimPrefix(text, more)
		default:
			kind, output = isOutput, true
		}
		if err := tell(n, kind, text); err != nil {
			return err
		}
	}
	if inside {
		return fmt.Errorf("line %d: the last block has no end", n)
	}
	return nil
}
