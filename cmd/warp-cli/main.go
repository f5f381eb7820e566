// Command warp-cli steers the agent of this device; see package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"weft/cli"
	"weft/internal/buildinfo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, cli.Config{
		Args:    os.Args[1:],
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Getenv:  os.Getenv,
		Version: buildinfo.Version(),
	})
	stop()
	os.Exit(code)
}
