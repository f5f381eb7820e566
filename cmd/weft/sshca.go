package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"weft/api"
	"weft/control/sshca"
	"weft/internal/kind"
)

func newSSHCA() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ssh-ca", Short: "Manage the SSH authorities: of logins at targets and of the gateways' host keys", Args: cobra.NoArgs,
		Long: `Manage the SSH authorities of the account. The user CA signs the certificates by which
gateways log in to targets; targets trust it (see install-hint). The host CAs sign the
host keys that gateways present to SSH clients; agents trust all of them, the newest
signs. Private keys never leave the control plane.

A user CA is changed in four steps, none of which locks anybody out: rotate makes the
next one, install-hint prints what targets need to trust both, activate has it sign
once "check" says that they do, and remove retires the old one. Until then the old
one can be activated again.

The API token needs "Access: SSH Auditing Read", to change anything "... Write".`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSSHCAList(), newSSHCACreate(), newSSHCARotate(), newSSHCAActivate(), newSSHCARemove(), newSSHCAInstallHint(), newSSHCACheck(), newSSHCAKRL())
	return cmd
}

// sshCAs asks for the authorities.
func sshCAs(cmd *cobra.Command, c *api.Client) (out api.SSHCAs, err error) {
	if err = c.Do(cmd.Context(), http.MethodGet, api.PathSSHCAs, nil, &out); err != nil {
		err = fmt.Errorf("list SSH authorities: %w", err)
	}
	return out, err
}

// sshCACommand adds what the commands have in common: the flags, and a client for run.
func sshCACommand(cmd *cobra.Command, run func(cmd *cobra.Command, c *api.Client, args []string) error) *cobra.Command {
	var ctl controlFlags
	ctl.add(cmd, "API token", "WEFT_API_TOKEN_FILE")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := ctl.manager()
		if err != nil {
			return err
		}
		defer c.Close()
		return run(cmd, c, args)
	}
	return cmd
}

func newSSHCAList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list [--json]", Short: "List the authorities", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return sshCACommand(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		cas, err := sshCAs(cmd, c)
		if err != nil {
			return err
		}
		if asJSON {
			return writeSSHJSON(cmd.OutOrStdout(), cas)
		}
		tab := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(tab, "ID\tFOR\tSTATE\tCREATED\tFINGERPRINT")
		for _, ca := range cas.User {
			fmt.Fprintf(tab, "%s\tlogins\t%s\t%s\t%s\n", ca.ID, ca.State, timeOr(&ca.CreatedAt, "-"), ca.Fingerprint)
		}
		for _, ca := range cas.Host {
			state := "trusted"
			if ca.Signs {
				state = "signs"
			}
			fmt.Fprintf(tab, "%s\tgateways\t%s\t%s\t%s\n", ca.ID, state, timeOr(&ca.CreatedAt, "-"), ca.Fingerprint)
		}
		return tab.Flush()
	})
}

func writeSSHJSON(w io.Writer, cas api.SSHCAs) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		SchemaVersion int `json:"schema_version"`
		api.SSHCAs
	}{1, cas})
}

// algorithmFlag declares --algorithm of a new user CA.
func algorithmFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "algorithm", string(sshca.ECDSAP256), "of the key: ecdsa-p256, or ed25519 (no server in FIPS mode takes it)")
}

// makeUserCA makes a user CA and says which.
func makeUserCA(cmd *cobra.Command, c *api.Client, in api.NewSSHUserCA) error {
	var ca api.SSHUserCA
	if err := c.Do(cmd.Context(), http.MethodPost, api.PathSSHUserCAs, in, &ca); err != nil {
		return fmt.Errorf("make user CA: %w", err)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\n", ca.ID, ca.State, ca.Fingerprint)
	return err
}

func newSSHCACreate() *cobra.Command {
	var algorithm string
	cmd := &cobra.Command{
		Use: "create [--algorithm NAME]", Short: "Make the account's first user CA, which signs logins from now on", Args: cobra.NoArgs,
		Long: `Make the account's first user CA. It is refused when there is one: see rotate. The public
API's POST gateway_ca does the same with the default algorithm.`,
	}
	algorithmFlag(cmd, &algorithm)
	return sshCACommand(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		return makeUserCA(cmd, c, api.NewSSHUserCA{Algorithm: algorithm})
	})
}

func newSSHCARotate() *cobra.Command {
	var (
		algorithm string
		host      bool
	)
	cmd := &cobra.Command{
		Use: "rotate [--algorithm NAME] | rotate --host", Short: "Make the next user CA, or with --host another host CA", Args: cobra.NoArgs,
		Long: `Make the next user CA. It signs nothing yet: put it on the targets beside the old one
(install-hint prints both), see "check", then "activate" it.

With --host: make a new host CA, which signs from now on. Agents hear of it at once and
trust it beside the older ones; gateways have their host keys signed by it within
seconds. When all have, the older one can be taken away: weft ssh-ca remove ID.`,
	}
	algorithmFlag(cmd, &algorithm)
	cmd.Flags().BoolVar(&host, "host", false, "a host CA, for the gateways' host keys")
	cmd.MarkFlagsMutuallyExclusive("host", "algorithm")
	return sshCACommand(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		if !host {
			return makeUserCA(cmd, c, api.NewSSHUserCA{Algorithm: algorithm, Next: true})
		}
		var ca api.SSHHostCA
		if err := c.Do(cmd.Context(), http.MethodPost, api.PathSSHHostCAs, nil, &ca); err != nil {
			return fmt.Errorf("make host CA: %w", err)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", ca.ID, ca.Fingerprint)
		return err
	})
}

func newSSHCAActivate() *cobra.Command {
	return sshCACommand(&cobra.Command{
		Use: "activate ID", Short: "Have a user CA sign the logins from now on", Args: cobra.ExactArgs(1),
		Long: `Have a user CA sign the logins from now on: the next one, or again one that signed before
(when a target turns out not to trust the new one). The one that signed stays listed as
trusted until it is removed. Sessions go on.`,
	}, func(cmd *cobra.Command, c *api.Client, args []string) error {
		var ca api.SSHUserCA
		if err := c.Do(cmd.Context(), http.MethodPost, api.PathSSHUserCAs+"/"+url.PathEscape(args[0])+"/activate", nil, &ca); err != nil {
			return fmt.Errorf("activate user CA: %w", err)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\n", ca.ID, ca.State, ca.Fingerprint)
		return err
	})
}

func newSSHCARemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove ID [--force]", Short: "Take an authority and its key away for good", Args: cobra.ExactArgs(1),
		Long: `Take a user CA or a host CA and its key away for good. It is refused for the one that
signs, and while something of it is in use, unless forced: certificates in force of a
user CA, a gateway that presents a certificate of a host CA (then users are asked about
the host key until that gateway has another certificate).

A user CA that is removed goes on the key revocation list (see krl); targets that do not
read it trust the key until its line is taken out of their file.`,
	}
	cmd.Flags().BoolVar(&force, "force", false, "at once, as when the key may be in other hands")
	return sshCACommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		cas, err := sshCAs(cmd, c)
		if err != nil {
			return err
		}
		path := api.PathSSHHostCAs
		if slices.ContainsFunc(cas.User, func(ca api.SSHUserCA) bool { return ca.ID == args[0] }) {
			path = api.PathSSHUserCAs
		}
		path += "/" + url.PathEscape(args[0])
		if force {
			path += "?force=true"
		}
		if err := c.Do(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
			return fmt.Errorf("remove SSH authority: %w", err)
		}
		return nil
	})
}

func newSSHCAInstallHint() *cobra.Command {
	return sshCACommand(&cobra.Command{
		Use: "install-hint", Short: "Print what makes an OpenSSH server trust the user CA, and a client the host CAs", Args: cobra.NoArgs,
		Long: `Print a shell script that makes an OpenSSH server (7.x and newer; sshd_config.d from 8.2
on) trust the user CAs, in a rotation the old and the next one: it is run as root on a
target, and can be run again. In comments behind it stand how the target learns of
revocations, and the line by which an SSH client without an agent knows the gateways.`,
	}, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		cas, err := sshCAs(cmd, c)
		if err != nil {
			return err
		}
		if len(cas.User) == 0 {
			return kind.New(kind.NotFound, "the account has no user CA").WithHint("make one: weft ssh-ca create (or POST /client/v4/accounts/ACCOUNT/access/gateway_ca)")
		}
		_, err = io.WriteString(cmd.OutOrStdout(), installHint(cas))
		return err
	})
}

// installHint is a script for sh; keys are base64 and names that ssh knows, so that nothing in them needs quotes.
func installHint(cas api.SSHCAs) string {
	var b strings.Builder
	b.WriteString(`# As root on each target. sshd must read the folder: "Include /etc/ssh/sshd_config.d/*.conf" stands in
# /etc/ssh/sshd_config; where it does not, put the TrustedUserCAKeys line there.
cat > /etc/ssh/weft_user_ca.pub <<'EOF'
`)
	for _, ca := range cas.User {
		// sshd knows comments on lines of their own.
		b.WriteString("# " + string(ca.State) + ": " + ca.ID + "\n" + strings.TrimSpace(ca.PublicKey) + "\n")
	}
	b.WriteString(`EOF
chmod 644 /etc/ssh/weft_user_ca.pub
mkdir -p /etc/ssh/sshd_config.d
echo 'TrustedUserCAKeys /etc/ssh/weft_user_ca.pub' > /etc/ssh/sshd_config.d/50-weft.conf
sshd -t && { systemctl reload ssh 2>/dev/null || systemctl reload sshd; }

# Wanted only where a removed user CA must end before its line is taken out here: a file that "weft ssh-ca krl -o
# /etc/ssh/weft_revoked.krl" keeps current (it needs no token), named by the line
#   RevokedKeys /etc/ssh/weft_revoked.krl
# Without that file sshd refuses every key, so write it first.
`)
	if len(cas.Host) > 0 {
		b.WriteString("\n# \"warp-cli ssh-config --install\" does this by itself. For a client without it: in known_hosts, with\n# HostKeyAlias " +
			api.SSHGatewayPrincipal + " in ssh_config.\n")
	}
	for _, ca := range cas.Host {
		b.WriteString("# @cert-authority " + api.SSHGatewayPrincipal + " " + strings.TrimSpace(ca.PublicKey) + "\n")
	}
	return b.String()
}
