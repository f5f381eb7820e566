package sshhost

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// execution is a run of built-in commands.
type execution struct {
	host, user     string
	env            map[string]string
	signals        <-chan string
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       *terminal // nil without one
}

const (
	statusUsage    = 2
	statusNotFound = 127
	maxLine        = 64 << 10
)

// The built-in commands. Each ends when ctx does, which is when the client has closed the channel.
//
//	hostname           the name of the host
//	whoami             the user
//	echo WORD...       the words
//	env                the variables that the client sent
//	size               columns and rows of the terminal
//	cat                standard input to standard output
//	wc                 the number of bytes of standard input
//	seq N              1 to N, a line each
//	stream N           N bytes
//	err WORD...        the words, on standard error
//	ticks [N]          a numbered line with the host's name every 100 ms, N times or for ever
//	signal             the name of the first signal that arrives
//	sleep              nothing, until closed
//	exit N             ends with status N
var commands = map[string]func(ctx context.Context, e *execution, args []string) uint32{
	"hostname": func(_ context.Context, e *execution, _ []string) uint32 { return e.print(e.host) },
	"whoami":   func(_ context.Context, e *execution, _ []string) uint32 { return e.print(e.user) },
	"echo": func(_ context.Context, e *execution, args []string) uint32 {
		return e.print(strings.Join(args, " "))
	},
	"err": func(_ context.Context, e *execution, args []string) uint32 {
		return status(fmt.Fprintln(e.stderr, strings.Join(args, " ")))
	},
	"env":  printEnv,
	"size": printSize,
	"cat":  func(_ context.Context, e *execution, _ []string) uint32 { return status(io.Copy(e.stdout, e.stdin)) },
	"wc": func(_ context.Context, e *execution, _ []string) uint32 {
		n, err := io.Copy(io.Discard, e.stdin)
		if err != nil {
			return 1
		}
		return e.print(strconv.FormatInt(n, 10))
	},
	"seq":    withCount(printSeq),
	"stream": withCount(stream),
	"ticks":  ticks,
	"signal": func(ctx context.Context, e *execution, _ []string) uint32 {
		select {
		case name := <-e.signals:
			return e.print(name)
		case <-ctx.Done():
			return 1
		}
	},
	"sleep": func(ctx context.Context, _ *execution, _ []string) uint32 { <-ctx.Done(); return 1 },
}

// run runs one command line: commands separated by ";", words by spaces, no quoting. `exit N` ends it.
func (e *execution) run(ctx context.Context, lineText string) uint32 {
	st, _ := e.line(ctx, lineText)
	return st
}

// line also says whether `exit` was among the commands.
func (e *execution) line(ctx context.Context, lineText string) (st uint32, exit bool) {
	for part := range strings.SplitSeq(lineText, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		if words[0] == "exit" {
			return exitStatus(words[1:], st), true
		}
		command, ok := commands[words[0]]
		if !ok {
			st = max(statusNotFound, status(fmt.Fprintf(e.stderr, "%s: %s: not a command of this host\n", e.host, words[0])))
			continue
		}
		st = command(ctx, e, words[1:])
	}
	return st, false
}

func exitStatus(args []string, last uint32) uint32 {
	if len(args) == 0 {
		return last
	}
	n, err := strconv.ParseUint(args[0], 10, 8)
	if err != nil {
		return statusUsage
	}
	return uint32(n)
}

// shell reads command lines until end of input, ^D on a terminal, or exit.
func (e *execution) shell(ctx context.Context) uint32 {
	in := bufio.NewReader(e.stdin)
	e.stdin = in // what a command reads goes on where the shell stopped
	st := uint32(0)
	for {
		e.prompt()
		text, err := e.readLine(in)
		if err != nil {
			return st
		}
		var exit bool
		if st, exit = e.line(ctx, text); exit {
			return st
		}
	}
}

func (e *execution) prompt() {
	if e.terminal != nil {
		_, _ = fmt.Fprintf(e.stdout, "%s@%s$ ", e.user, e.host) // a lost client ends the next read
	}
}

// readLine reads one; on a terminal it echoes what it reads, as the line discipline would.
func (e *execution) readLine(in *bufio.Reader) (string, error) {
	var text []byte
	for len(text) < maxLine {
		b, err := in.ReadByte()
		if err != nil {
			return "", err
		}
		if e.terminal != nil {
			switch b {
			case 4: // ^D
				return "", io.EOF
			case '\r':
				b = '\n'
			}
			if _, err := e.stdout.Write([]byte{b}); err != nil {
				return "", err
			}
		}
		if b == '\n' {
			return string(text), nil
		}
		text = append(text, b)
	}
	return "", bufio.ErrTooLong
}

func (e *execution) print(s string) uint32 { return status(fmt.Fprintln(e.stdout, s)) }

func status[N int | int64](_ N, err error) uint32 {
	if err != nil {
		return 1
	}
	return 0
}

func printEnv(_ context.Context, e *execution, _ []string) uint32 {
	for _, name := range slices.Sorted(maps.Keys(e.env)) {
		if st := e.print(name + "=" + e.env[name]); st != 0 {
			return st
		}
	}
	return 0
}

func printSize(_ context.Context, e *execution, _ []string) uint32 {
	if e.terminal == nil {
		return status(fmt.Fprintln(e.stderr, "size: not a terminal")) + 1
	}
	cols, rows := e.terminal.size()
	return e.print(fmt.Sprintf("%d %d", cols, rows))
}

// withCount parses the one argument N.
func withCount(run func(e *execution, n uint64) uint32) func(context.Context, *execution, []string) uint32 {
	return func(_ context.Context, e *execution, args []string) uint32 {
		if len(args) == 1 {
			if n, err := strconv.ParseUint(args[0], 10, 62); err == nil {
				return run(e, n)
			}
		}
		return max(statusUsage, status(fmt.Fprintln(e.stderr, "one number is wanted")))
	}
}

func printSeq(e *execution, n uint64) uint32 {
	w := bufio.NewWriter(e.stdout)
	for i := uint64(1); i <= n; i++ {
		if _, err := w.WriteString(strconv.FormatUint(i, 10) + "\n"); err != nil {
			return 1
		}
	}
	return status(0, w.Flush())
}

// stream writes n bytes whose values count up, so that a gap or a repetition shows.
func stream(e *execution, n uint64) uint32 {
	buf := make([]byte, 128<<10) // a multiple of 256
	for i := range buf {
		buf[i] = byte(i)
	}
	for n > 0 {
		w, err := e.stdout.Write(buf[:min(n, uint64(len(buf)))])
		if err != nil {
			return 1
		}
		n -= uint64(w)
	}
	return 0
}

// ticks is what a demo watches while it switches networks.
func ticks(ctx context.Context, e *execution, args []string) uint32 {
	limit := 0
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 {
			return max(statusUsage, status(fmt.Fprintln(e.stderr, "ticks: a positive number is wanted")))
		}
		limit = n
	}
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for i := 1; limit == 0 || i <= limit; i++ {
		if st := e.print(fmt.Sprintf("%d %s", i, e.host)); st != 0 {
			return st
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return 1
		}
	}
	return 0
}
