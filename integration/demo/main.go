// Command demo shows Weft at work on one machine, as an ordinary user, with
// nothing but Go: it builds the three programs, starts a whole Weft ("weft dev"),
// creates two virtual networks whose hosts have the same address, enrols an agent,
// logs in to both hosts by name, and switches the network under an open stream.
//
//	go run ./integration/demo         leaves it running to try out; Ctrl-C ends it
//	go run ./integration/demo -once   ends; exit status 0 only if every step held
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	once := fs.Bool("once", false, "end after the last step instead of leaving it running")
	goSSH := fs.Bool("go-ssh", false, "log in with the built-in SSH client even when ssh is installed")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if fs.NArg() > 0 {
		say(stderr, "demo: unknown argument %q\n", fs.Arg(0))
		return 2
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	d, err := newDemo(*goSSH, stdout)
	if err != nil {
		say(stderr, "demo: %v\n", err)
		return 1
	}
	err = d.play(ctx)
	if err == nil && !*once {
		say(stdout, "%s", d.invitation())
		<-ctx.Done()
		say(stdout, "\nending ...\n")
	}
	return d.end(err, stderr)
}

// say prints; nothing can be done about a terminal that has gone.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
