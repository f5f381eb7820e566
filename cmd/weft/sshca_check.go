package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control/sshcheck"
	"weft/internal/kind"
)

func newSSHCACheck() *cobra.Command {
	var (
		login   string
		asJSON  bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use: "check HOST[:PORT] --login USER", Short: "Ask a server whether it trusts the user CAs", Args: cobra.ExactArgs(1),
		Long: `Ask an SSH server whether it would take logins by certificates of the user CAs, of each
that signs, is next or did sign. This machine connects to the server itself, not through
a gateway. Nobody logs in: the certificates that are shown certify keys whose private
halves do not exist, and a server says that it would take one before it wants a signature.

The answer is about the UNIX user of --login, who must exist there, about this machine's
address, and about now: an unknown user, a wrong clock, AllowUsers, AuthorizedPrincipals
or RevokedKeys look like a CA that is not trusted. It does not say whether the server
wants more than the certificate (AuthenticationMethods) or forbids root afterwards
(PermitRootLogin). "weft explain" tries a real login through a gateway.

The host key that is shown is not verified here; compare it with the server's own. Each
gateway has its pin of it (weft host-key list), unless an authority vouches for it.

Exit status: 0 if the CA that signs, and the next one if there is one, are trusted; 9 if
not; 7 or 8 if the server cannot be asked.`,
	}
	cmd.Flags().StringVar(&login, "login", "", "a UNIX `USER` that exists on the server")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "of each connection to the server")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	if err := cmd.MarkFlagRequired("login"); err != nil {
		panic(err)
	}
	return sshCACommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		q, err := sshQuestion(cmd, c, args[0], login)
		if err != nil {
			return err
		}
		q.Timeout = timeout
		var hosts []api.SSHTargetCA
		if err := c.Do(cmd.Context(), http.MethodGet, api.PathSSHTargetCAs, nil, &hosts); err != nil {
			return fmt.Errorf("list authorities of host keys: %w", err)
		}
		r, err := sshcheck.Ask(cmd.Context(), *q)
		if err != nil {
			return err
		}
		if asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			err = e.Encode(struct {
				SchemaVersion int `json:"schema_version"`
				*sshcheck.Report
			}{1, r})
		} else {
			err = writeSSHReport(cmd.OutOrStdout(), r, hosts)
		}
		if err != nil {
			return err
		}
		return sshVerdict(r)
	})
}

// sshQuestion has control make the certificates that the server is shown.
func sshQuestion(cmd *cobra.Command, c *api.Client, address, login string) (*sshcheck.Question, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "22")
	}
	var probe api.SSHProbe
	if err := c.Do(cmd.Context(), http.MethodPost, api.PathSSHProbe, api.SSHProbeRequest{Login: login}, &probe); err != nil {
		return nil, fmt.Errorf("make certificates to ask by: %w", err)
	}
	if len(probe.Certificates) == 0 {
		return nil, kind.New(kind.NotFound, "the account has no user CA").WithHint("make one: weft ssh-ca create")
	}
	q := &sshcheck.Question{Address: address, Login: login}
	for _, p := range probe.Certificates {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(p.Certificate))
		cert, ok := key.(*ssh.Certificate)
		if err != nil || !ok {
			return nil, kind.New(kind.Unavailable, "the control plane's answer cannot be understood").WithCause(err)
		}
		q.Authorities = append(q.Authorities, sshcheck.Authority{
			ID: p.CA.ID, State: string(p.CA.State), Fingerprint: p.CA.Fingerprint, Certificate: cert,
		})
	}
	return q, nil
}

func writeSSHReport(w io.Writer, r *sshcheck.Report, hosts []api.SSHTargetCA) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(tab, "%s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	line("server", "%q at %s", r.Version, r.Address)
	a := r.Algorithms
	line("algorithms", "%s", strings.Join(slices.DeleteFunc([]string{a.KeyExchange, a.HostKey, a.Cipher, a.MAC}, func(s string) bool { return s == "" }), ", "))
	line("host key", "%s %s (not verified here; see weft host-key list at each gateway)", r.HostKey.Type, r.HostKey.Fingerprint)
	if c := r.HostCertificate; c != nil {
		line("host certificate", "for %s until %s, of %s (%s)", strings.Join(quoted(c.Principals), ", "), c.ValidBefore.Format(time.RFC3339), c.Authority, vouches(hosts, c.Authority))
	} else {
		line("host certificate", "none; gateways pin the host key")
	}
	line("methods", "%s", strings.Join(quoted(r.Methods), ", "))
	for _, a := range r.Authorities {
		trusted := "NOT TRUSTED"
		if a.Trusted {
			trusted = "trusted"
		}
		line("user CA", "%s %s (%s) for %q: %s", a.ID, a.Fingerprint, a.State, r.Login, trusted)
	}
	return tab.Flush()
}

// quoted makes what a server says harmless to a terminal.
func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.Trim(fmt.Sprintf("%q", s), `"`)
	}
	return out
}

func vouches(hosts []api.SSHTargetCA, fingerprint string) string {
	for _, h := range hosts {
		if h.Fingerprint == fingerprint {
			return "trusted for " + strings.Join(h.Hostnames, ", ")
		}
	}
	return "not trusted: weft host-key trust-ca add"
}

// sshVerdict says what is in the way, and what to do.
func sshVerdict(r *sshcheck.Report) error {
	found := func(hint, format string, args ...any) error {
		return sshFound{kind.New(kind.Denied, format, args...).WithHint("%s", hint)}
	}
	if r.TakesAnything {
		return found("it is no OpenSSH server, or not as it should be; its answers say nothing", "%s would take a certificate of anybody", r.Address)
	}
	if !slices.Contains(r.Methods, "publickey") {
		return found("set PubkeyAuthentication yes in its sshd_config", "%s takes no public keys from %q", r.Address, r.Login)
	}
	for _, a := range r.Authorities {
		if !a.Trusted && a.State != string(api.UserCATrusted) {
			return found("run what \"weft ssh-ca install-hint\" prints on it, and see that "+fmt.Sprintf("%q", r.Login)+" exists there and its clock is right; its log says more",
				"%s does not take certificates of the user CA %s (%s) for %q", r.Address, a.ID, a.State, r.Login)
		}
	}
	return nil
}

// sshFound says that a server does not trust what it should.
type sshFound struct{ error }

// Unwrap returns the cause.
func (e sshFound) Unwrap() error { return e.error }
