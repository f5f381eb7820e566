package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/internal/kind"
)

func newSSHCA() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ssh-ca", Short: "Manage the SSH authorities: of logins at targets and of the gateways' host keys", Args: cobra.NoArgs,
		Long: `Manage the SSH authorities of the account. The user CA signs the certificates by which
gateways log in to targets; targets trust it (see install-hint). The host CAs sign the
host keys that gateways present to SSH clients; agents trust all of them, the newest
signs. Private keys never leave the control plane.

The API token needs "Access: SSH Auditing Read", to change anything "... Write".`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSSHCAList(), newSSHCARotate(), newSSHCARemove(), newSSHCAInstallHint())
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
			fmt.Fprintf(tab, "%s\tlogins\tsigns\t-\t%s\n", ca.ID, fingerprint(ca.PublicKey))
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

func fingerprint(line string) string {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return "-"
	}
	return ssh.FingerprintSHA256(key)
}

func newSSHCARotate() *cobra.Command {
	return sshCACommand(&cobra.Command{
		Use: "rotate", Short: "Make a new host CA, which signs from now on; the older ones stay trusted", Args: cobra.NoArgs,
		Long: `Make a new host CA. Agents hear of it at once and trust it beside the older ones;
gateways have their host keys signed by it within seconds. When all have, the older
one can be taken away: weft ssh-ca remove ID. The user CA stays as it is.`,
	}, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		var ca api.SSHHostCA
		if err := c.Do(cmd.Context(), http.MethodPost, api.PathSSHHostCAs, nil, &ca); err != nil {
			return fmt.Errorf("make host CA: %w", err)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", ca.ID, ca.Fingerprint)
		return err
	})
}

func newSSHCARemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove ID [--force]", Short: "Take a host CA and its key away; nobody trusts it any more", Args: cobra.ExactArgs(1),
		Long: `Take a host CA and its key away for good. It is refused for the one that signs, and
while a gateway presents a certificate of it, unless forced: then users are asked about
the host key until that gateway has another certificate.`,
	}
	cmd.Flags().BoolVar(&force, "force", false, "at once, as when the key may be in other hands")
	return sshCACommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		path := api.PathSSHHostCAs + "/" + url.PathEscape(args[0])
		if force {
			path += "?force=true"
		}
		if err := c.Do(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
			return fmt.Errorf("remove host CA: %w", err)
		}
		return nil
	})
}

func newSSHCAInstallHint() *cobra.Command {
	return sshCACommand(&cobra.Command{
		Use: "install-hint", Short: "Print what makes an OpenSSH server trust the user CA, and a client the host CAs", Args: cobra.NoArgs,
		Long: `Print a shell script that makes an OpenSSH server (7.x and newer; sshd_config.d from 8.2
on) trust the user CA: it is run as root on a target. In comments behind it stands the
line by which an SSH client without an agent knows the gateways.`,
	}, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		cas, err := sshCAs(cmd, c)
		if err != nil {
			return err
		}
		if len(cas.User) == 0 {
			return kind.New(kind.NotFound, "the account has no user CA").WithHint("make one: POST /client/v4/accounts/ACCOUNT/access/gateway_ca")
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
		b.WriteString(strings.TrimSpace(ca.PublicKey) + "\n")
	}
	b.WriteString(`EOF
mkdir -p /etc/ssh/sshd_config.d
echo 'TrustedUserCAKeys /etc/ssh/weft_user_ca.pub' > /etc/ssh/sshd_config.d/50-weft.conf
sshd -t && { systemctl reload ssh 2>/dev/null || systemctl reload sshd; }
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
