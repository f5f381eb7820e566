// Command machines plays the two servers of docs/tour.md on this machine, as an ordinary user: web-1 of the staging network
// on ports 2201 (SSH) and 8081 (HTTP), web-1 of the production network on 2202 and 8082, all on 127.0.0.1. Its SSH servers
// run commands as you, in a folder of their own; they let in only who shows a certificate of the SSH authority that --ca
// names, as a real sshd with TrustedUserCAKeys does.
//
//	go run ./integration/tour/machines --ca office-ca.pub --dir DIR
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

// machine is one of the two servers.
type machine struct{ network, sshAddr, webAddr string }

var machines = []machine{
	{network: "staging", sshAddr: "127.0.0.1:2201", webAddr: "127.0.0.1:8081"},
	{network: "prod", sshAddr: "127.0.0.1:2202", webAddr: "127.0.0.1:8082"},
}

// headerLimit bounds how long a client of the web servers may take for its request's head.
const headerLimit = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "machines: %v\n", err) // a lost terminal cannot be told
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("machines", flag.ContinueOnError)
	fs.SetOutput(stderr)
	caFile := fs.String("ca", "", "file of the SSH authority's public key")
	dir := fs.String("dir", "", "folder for the files of both machines")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *caFile == "" || *dir == "" {
		return errors.New("--ca and --dir are needed")
	}
	b, err := os.ReadFile(*caFile)
	if err != nil {
		return fmt.Errorf("read the SSH authority: %w", err)
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return fmt.Errorf("read the SSH authority: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range machines {
		if err := m.start(ctx, g, ca, filepath.Join(*dir, m.network)); err != nil {
			return err
		}
	}
	return g.Wait()
}

// start listens, and leaves to g what serves until ctx ends.
func (m machine) start(ctx context.Context, g *errgroup.Group, ca ssh.PublicKey, home string) error {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("make the folder of %s: %w", m.network, err)
	}
	greeting := "this is web-1 of " + m.network + "\n"
	if err := os.WriteFile(filepath.Join(home, "motd"), []byte(greeting), 0o600); err != nil {
		return err
	}
	config, err := serverConfig(ca)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	sl, err := lc.Listen(ctx, "tcp", m.sshAddr)
	if err != nil {
		return fmt.Errorf("listen for SSH: %w", err)
	}
	wl, err := lc.Listen(ctx, "tcp", m.webAddr)
	if err != nil {
		return errors.Join(fmt.Errorf("listen for HTTP: %w", err), sl.Close())
	}
	s := &server{config: config, home: home}
	g.Go(func() error { return s.serve(ctx, sl) })
	web := &http.Server{ReadHeaderTimeout: headerLimit, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, greeting) // the client sees what came
	})}
	g.Go(func() error {
		if err := web.Serve(wl); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { <-ctx.Done(); return web.Close() })
	return nil
}
