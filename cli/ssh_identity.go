package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
)

// hostIdentity is by what OpenSSH is to know the other side.
type hostIdentity struct {
	alias string
	// authorities is a file of @cert-authority lines; empty: the key itself has to be known.
	authorities string
}

// options are those of ssh's command line. The file takes the place of the system's known hosts, not of the user's:
// what those say of the alias is nothing, and a user who chose a file of his own keeps it.
func (h hostIdentity) options() []string {
	argv := []string{"-o", "HostKeyAlias=" + h.alias, "-o", "CheckHostIP=no"}
	if h.authorities != "" {
		argv = append(argv, "-o", `GlobalKnownHostsFile="`+filepath.ToSlash(h.authorities)+`"`)
	}
	return argv
}

// hostIdentity says by what ssh is to know a target. Where the gateway speaks SSH its certificate says who it is, for
// every target; where ssh cannot be told of the authorities, the gateway's plain key is remembered per target instead.
func (a *app) hostIdentity(ctx context.Context, c *client.Client, r *localapi.Resolution, port uint16) hostIdentity {
	own := hostIdentity{alias: targetAlias(r, port)}
	if r.HostKeyAlias == "" {
		return own
	}
	h, err := c.SSHHost(ctx, "weft.invalid", 0)
	if err != nil {
		return own
	}
	p, err := a.sshPaths()
	if err != nil {
		return own
	}
	file, err := p.keepAuthorities(authorityLines(h.CertAuthorities))
	if err != nil {
		fmt.Fprintf(a.cfg.Stderr, "warp-cli: the gateway's certificate cannot be checked, its key is remembered instead: %v\n", err)
		return own
	}
	return hostIdentity{alias: r.HostKeyAlias, authorities: file}
}

// keepAuthorities returns a file that holds these lines: that of ssh-config when it does, else one named by what is
// in it, so that the profiles of two organisations do not take it from each other.
func (p *sshPaths) keepAuthorities(lines string) (string, error) {
	if lines == "" {
		return "", errors.New("the agent names no authority")
	}
	if !writable(filepath.ToSlash(p.folder)) {
		return "", fmt.Errorf("ssh cannot be told of the folder %q", p.folder)
	}
	if b, err := os.ReadFile(p.authoritiesFile); err == nil && string(b) == lines {
		return p.authoritiesFile, nil
	}
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return "", fmt.Errorf("make %s: %w", p.folder, err)
	}
	sum := sha256.Sum256([]byte(lines))
	path := p.authoritiesFile + "-" + hex.EncodeToString(sum[:6])
	_, err := replaceIfOther(path, lines)
	return path, err
}

// authorityFiles are the files that keepAuthorities has made.
func (p *sshPaths) authorityFiles() []string {
	entries, err := os.ReadDir(p.folder)
	if err != nil {
		return nil // there is none
	}
	var out []string
	for _, e := range entries {
		if ok, _ := filepath.Match(filepath.Base(p.authoritiesFile)+"-????????????", e.Name()); ok { // the pattern is sound
			out = append(out, filepath.Join(p.folder, e.Name()))
		}
	}
	return out
}
