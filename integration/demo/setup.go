package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"weft/integration/lab"
)

func (d *demo) build(ctx context.Context) (string, error) {
	repo, err := lab.Repository()
	if err != nil {
		return "", err
	}
	d.bin, err = lab.Build(ctx, repo, filepath.Join(d.dir, "bin"))
	return "", err
}

func (d *demo) startDev(ctx context.Context) (string, error) {
	ready := filepath.Join(d.dir, "ready")
	p, err := d.start(ctx, "weft-dev", d.bin.Weft, "dev", "--dir", d.devDir(), "--ready-file", ready)
	if err != nil {
		return "", err
	}
	if err := p.AwaitFile(ctx, ready); err != nil {
		return "", err
	}
	if d.env, err = lab.DevEnv(ctx, d.bin, d.devDir(), email, ""); err != nil {
		return "", err
	}
	if d.api, err = d.env.API(); err != nil {
		return "", err
	}
	return "the API is at " + d.env["CLOUDFLARE_BASE_URL"], nil
}

func (d *demo) createNetworks(ctx context.Context) (string, error) {
	for name, comment := range map[string]string{"staging": "where things are tried", "production": "where things matter"} {
		id, err := d.api.CreateNetwork(ctx, name, comment)
		if err != nil {
			return "", err
		}
		tunnel, token, err := d.api.CreateTunnel(ctx, name)
		if err != nil {
			return "", err
		}
		if _, err := d.api.CreateRoute(ctx, netip.MustParsePrefix(prefix), tunnel, id); err != nil {
			return "", err
		}
		d.networks[name], d.tokens[name] = id, token
	}
	return "", nil
}

func (d *demo) createTargets(ctx context.Context) (string, error) {
	at := netip.MustParseAddr(address)
	if _, err := d.api.CreateTarget(ctx, "host-a", at, d.networks["staging"]); err != nil {
		return "", err
	}
	if _, err := d.api.CreateTarget(ctx, "host-b", at, d.networks["production"]); err != nil {
		return "", err
	}
	_, err := d.api.CreateApplication(ctx, lab.Application{
		Name: "hosts", Hostnames: []string{"host-a", "host-b"}, Port: 22, Protocol: "SSH",
		Emails: []string{email}, Usernames: []string{login},
	})
	if err != nil || d.sshd == nil {
		return "", err
	}
	if _, err := d.api.CreateTarget(ctx, sshdName, netip.MustParseAddr(sshdAddr), d.networks["staging"]); err != nil {
		return "", err
	}
	_, err = d.api.CreateApplication(ctx, lab.Application{
		Name: "a real sshd", Hostnames: []string{sshdName}, Port: 22, Protocol: "SSH",
		Emails: []string{email}, Usernames: []string{d.sshd.user},
	})
	return "", err
}

// startConnectors runs one in each "private network": here, the loopback addresses of that network's hosts.
func (d *demo) startConnectors(ctx context.Context) (string, error) {
	maps := map[string][]string{
		"staging":    {address + ":22=" + d.hosts["host-a"].addr},
		"production": {address + ":22=" + d.hosts["host-b"].addr},
	}
	if d.sshd != nil {
		maps["staging"] = append(maps["staging"], sshdAddr+":22="+d.sshd.addr)
	}
	var g errgroup.Group
	for name, pairs := range maps {
		tokenFile := filepath.Join(d.dir, "token-"+name)
		if err := os.WriteFile(tokenFile, []byte(d.tokens[name]+"\n"), 0o600); err != nil {
			return "", err
		}
		ready := filepath.Join(d.dir, "ready-"+name)
		args := []string{
			d.bin.Weft, "connector", "--token-file", tokenFile, "--control", d.env.ControlURL(),
			"--ca-file", d.env["SSL_CERT_FILE"], "--ready-file", ready,
		}
		for _, m := range pairs {
			args = append(args, "--map", m)
		}
		p, err := d.start(ctx, "connector-"+name, args...)
		if err != nil {
			return "", err
		}
		g.Go(func() error { return p.AwaitFile(ctx, ready) })
	}
	return "", g.Wait()
}

func (d *demo) startAgent(ctx context.Context) (string, error) {
	var err error
	if d.proxy, err = freeTCP(); err != nil {
		return "", err
	}
	p, err := d.start(ctx, "warp-svc", d.bin.Svc, "run", "--state-dir", filepath.Join(d.dir, "agent"), "--socket", d.socket, "--proxy-listen", d.proxy)
	if err != nil {
		return "", err
	}
	if err := p.AwaitSocket(ctx, d.socket); err != nil {
		return "", err
	}
	if _, err := d.cli(ctx, "registration", "new", d.env["WEFT_ENROLMENT"]); err != nil {
		return "", err
	}
	if _, err := d.cli(ctx, "connect"); err != nil {
		return "", err
	}
	if _, err := d.cli(ctx, "vnet", "staging"); err != nil {
		return "", err
	}
	return d.cli(ctx, "status")
}

// cli runs warp-cli and returns what it wrote to stdout.
func (d *demo) cli(ctx context.Context, args ...string) (string, error) {
	cmd := lab.Command{Args: append([]string{d.bin.CLI, "--socket", d.socket}, args...)}.Exec(ctx)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("warp-cli %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// freeTCP returns a loopback address that was free a moment ago.
func freeTCP() (string, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

var errUnexpected = errors.New("not what was expected")
