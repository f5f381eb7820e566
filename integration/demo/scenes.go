package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weft/integration/lab"
)

func (d *demo) listTargets(ctx context.Context) (string, error) {
	want := []string{"host-a", "host-b", address + " (staging)", address + " (production)", login}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := d.cli(ctx, "target", "list")
		if err != nil {
			return "", err
		}
		if containsAll(out, want) {
			return out, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("%w: the list should hold %s, and is\n%s", errUnexpected, strings.Join(want, ", "), out)
		}
	}
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

func (d *demo) logInToBoth(ctx context.Context) (string, error) {
	var seen strings.Builder
	for _, name := range []string{"host-a", "host-b"} {
		if err := d.expectHost(ctx, name, name, &seen); err != nil {
			return "", err
		}
	}
	// The address alone means the selected network's host.
	return seen.String(), d.expectHost(ctx, address, "host-a", &seen)
}

// expectHost runs hostname at where and demands that it is host's answer.
func (d *demo) expectHost(ctx context.Context, where, host string, seen *strings.Builder) error {
	out, err := d.ssh(ctx, login, where, "hostname")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(out); got != host {
		return fmt.Errorf("%w: %s answered as %q, not as %q", errUnexpected, where, got, host)
	}
	fmt.Fprintf(seen, "$ warp-cli ssh %s@%s hostname\n%s\n", login, where, host)
	return nil
}

func (d *demo) logInToSSHD(ctx context.Context) (string, error) {
	if d.sshd == nil {
		return "skipped: there is none", nil
	}
	// The command is one that sshd's own shell must work out.
	out, err := d.ssh(ctx, d.sshd.user, sshdName, "echo $((6*7)) from a real sshd")
	if err != nil {
		return "", err
	}
	if got := strings.TrimSpace(out); got != "42 from a real sshd" {
		return "", fmt.Errorf("%w: it answered %q", errUnexpected, got)
	}
	return strings.TrimSpace(out), nil
}

func (d *demo) startStream(ctx context.Context) (string, error) {
	var err error
	if d.stream, err = d.openStream(ctx, "host-a"); err != nil {
		return "", err
	}
	n, err := d.stream.await(ctx, 3)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("host-a has sent %d lines", n), nil
}

func (d *demo) switchNetwork(ctx context.Context) (string, error) {
	if _, err := d.cli(ctx, "vnet", "production"); err != nil {
		return "", err
	}
	var seen strings.Builder
	seen.WriteString("$ warp-cli vnet production\n")
	if err := d.expectHost(ctx, address, "host-b", &seen); err != nil {
		return "", err
	}
	return seen.String(), nil
}

func (d *demo) checkStream(ctx context.Context) (string, error) {
	before := d.stream.count()
	n, err := d.stream.await(ctx, before+10)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d lines by now, numbered without a gap, each from host-a", n), nil
}

func (d *demo) tryWrongLogin(ctx context.Context) (string, error) {
	out, err := d.ssh(ctx, wrongLogin, "host-a", "hostname")
	if err == nil {
		return "", fmt.Errorf("%w: %s was let in and saw %q", errUnexpected, wrongLogin, out)
	}
	// The gateway's own words, not only ssh's.
	reason := ""
	for line := range strings.Lines(err.Error()) {
		if strings.Contains(line, "refused") && strings.Contains(line, wrongLogin) && strings.Contains(line, "host-a") {
			reason = strings.TrimSpace(line)
		}
	}
	if reason == "" {
		return "", fmt.Errorf("the login was refused, but without saying why: %w", err)
	}
	if err := d.expectAudit(ctx, wrongLogin); err != nil {
		return "", err
	}
	return "$ warp-cli ssh " + wrongLogin + "@host-a\n" + reason, nil
}

// expectAudit demands that the refusal is on record.
func (d *demo) expectAudit(ctx context.Context, name string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(filepath.Join(d.devDir(), "audit.jsonl"))
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		s := bufio.NewScanner(strings.NewReader(string(b)))
		for s.Scan() {
			if strings.Contains(s.Text(), `"`+name+`"`) && strings.Contains(s.Text(), email) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the audit log does not mention the refused login")
		}
	}
}

func (d *demo) probe(ctx context.Context) (string, error) {
	enrolment, err := lab.DevEnv(ctx, d.bin, d.devDir(), email, "")
	if err != nil {
		return "", err
	}
	file := filepath.Join(d.dir, "probe-enrolment")
	if err := os.WriteFile(file, []byte(enrolment["WEFT_ENROLMENT"]), 0o600); err != nil {
		return "", err
	}
	out, err := lab.Command{Args: []string{
		d.bin.Weft, "probe", "--enrolment-file", file, "--state", filepath.Join(d.dir, "probe"), "--target", address + ":22", "--vnet", "production",
	}}.Exec(ctx).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("weft probe: %w\n%s", err, out)
	}
	return string(out), nil
}
