package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"weft/api"
	"weft/internal/kind"
)

func newTrustCA() *cobra.Command {
	cmd := &cobra.Command{
		Use: "trust-ca", Short: "Manage the authorities whose host certificates all gateways take from targets", Args: cobra.NoArgs,
		Long: `Manage the authorities whose host certificates (HostCertificate in sshd_config) all gateways
take from targets, like lines @cert-authority of known_hosts. It changes the account: it is
run anywhere, with an API token that has "Access: SSH Auditing Write" (to list: "... Read").

A target that shows a certificate of such an authority needs no pin: its key may change.
The certificate must be in force and name the target's hostname or address; one that does not
is refused, with an alarm. A target that has shown one is refused when it shows none later.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTrustCAList(), newTrustCAAdd(), newTrustCARemove())
	return cmd
}

func newTrustCAList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list [--json]", Short: "List the authorities", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return sshCACommand(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		var list []api.SSHTargetCA
		if err := c.Do(cmd.Context(), http.MethodGet, api.PathSSHTargetCAs, nil, &list); err != nil {
			return fmt.Errorf("list authorities of host keys: %w", err)
		}
		if asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(map[string]any{"schema_version": 1, "authorities": list})
		}
		return writeTargetCAs(cmd.OutOrStdout(), list)
	})
}

func writeTargetCAs(w io.Writer, list []api.SSHTargetCA) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "ID\tHOSTNAMES\tVNET\tREQUIRED\tFINGERPRINT")
	for _, c := range list {
		vnet, required := c.VNET, "no"
		if vnet == "" {
			vnet = "all"
		}
		if c.Required {
			required = "yes"
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\n", c.ID, strings.Join(c.Hostnames, ","), vnet, required, c.Fingerprint)
	}
	return tab.Flush()
}

func newTrustCAAdd() *cobra.Command {
	var in api.NewSSHTargetCA
	cmd := &cobra.Command{
		Use: "add KEYFILE --hostname PATTERN... [--vnet ID] [--required]", Short: "Trust an authority", Args: cobra.ExactArgs(1),
		Long: `Trust an authority of targets' host keys. KEYFILE holds its public key, such as host_ca.pub;
"-" is standard input. A pattern is a target's hostname or address with the wildcards * and ?.`,
	}
	cmd.Flags().StringSliceVar(&in.Hostnames, "hostname", nil, "the targets that it may vouch for; '*' for all (repeatable)")
	cmd.Flags().StringVar(&in.VNET, "vnet", "", "only targets in the virtual network with this `ID`")
	cmd.Flags().BoolVar(&in.Required, "required", false, "refuse these targets without such a certificate, at the first login too")
	if err := cmd.MarkFlagRequired("hostname"); err != nil {
		panic(err)
	}
	return sshCACommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) (err error) {
		if in.PublicKey, err = readPublicKey(cmd.InOrStdin(), args[0]); err != nil {
			return err
		}
		var ca api.SSHTargetCA
		if err := c.Do(cmd.Context(), http.MethodPost, api.PathSSHTargetCAs, in, &ca); err != nil {
			return fmt.Errorf("trust authority of host keys: %w", err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", ca.ID, ca.Fingerprint)
		return err
	})
}

// maxPublicKeyBytes is more than any line of a key has.
const maxPublicKeyBytes = 16 << 10

func readPublicKey(stdin io.Reader, path string) (_ string, err error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("read public key: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPublicKeyBytes+1))
	if err != nil {
		return "", fmt.Errorf("read public key: %w", err)
	}
	if len(b) > maxPublicKeyBytes || strings.Contains(string(b), "PRIVATE KEY") {
		return "", kind.New(kind.Invalid, "%s is not the file of a public key", path).WithHint("its name ends in .pub")
	}
	return string(b), nil
}

func newTrustCARemove() *cobra.Command {
	return sshCACommand(&cobra.Command{
		Use: "remove ID", Short: "Trust an authority no more", Args: cobra.ExactArgs(1),
		Long: `Trust an authority no more. Targets that it vouched for are refused until another one does,
or until their keys are accepted or forgotten at each gateway: weft host-key accept, or
weft host-key forget --authority FINGERPRINT for all of them.`,
	}, func(cmd *cobra.Command, c *api.Client, args []string) error {
		if args[0] == "" {
			return usageError{errors.New("the ID is empty")}
		}
		if err := c.Do(cmd.Context(), http.MethodDelete, api.PathSSHTargetCAs+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
			return fmt.Errorf("remove authority of host keys: %w", err)
		}
		return nil
	})
}
