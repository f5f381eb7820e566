package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weft/gateway"
	"weft/internal/kind"
	"weft/vnet"
)

func newHostKey() *cobra.Command {
	cmd := &cobra.Command{
		Use: "host-key", Short: "Manage the host keys of targets that a gateway has pinned", Args: cobra.NoArgs,
		Long: `Manage the host keys of targets, which a gateway pins at the first SSH login. Run it where
the gateway runs, as the user that owns its state directory; the gateway may be running
and obeys from the next login on. Each gateway has pins of its own.

"trust-ca" is about the account instead: the authorities whose host certificates every
gateway takes, so that the keys need not be pinned one by one.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newHostKeyList(), newHostKeyAccept(), newHostKeyForget(), newTrustCA())
	return cmd
}

// hostKeyFlags name a gateway's pins, and one of them.
type hostKeyFlags struct{ dir, vnet string }

func (f *hostKeyFlags) add(cmd *cobra.Command, one bool) {
	cmd.Flags().StringVar(&f.dir, "state-dir", "/var/lib/weft/gateway", "the gateway's directory of keys and state")
	if one {
		cmd.Flags().StringVar(&f.vnet, "vnet", "", "the `ID` of the virtual network; needed when the address is pinned in several")
	}
}

// pick finds the pin that is meant.
func (f *hostKeyFlags) pick(destination string) (gateway.HostKey, error) {
	dst, err := netip.ParseAddrPort(destination)
	if err != nil {
		return gateway.HostKey{}, usageError{fmt.Errorf("%q is not ADDRESS:PORT", destination)}
	}
	all, err := gateway.HostKeys(f.dir)
	if err != nil {
		return gateway.HostKey{}, err
	}
	var found []gateway.HostKey
	for _, k := range all {
		if k.Destination == dst && (f.vnet == "" || k.VNET == vnet.ID(f.vnet)) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return gateway.HostKey{}, kind.New(kind.NotFound, "no host key is pinned for %s", dst).WithHint("see: weft host-key list")
	case 1:
		return found[0], nil
	}
	return gateway.HostKey{}, usageError{errors.New(destination + " is pinned in several virtual networks; name one with --vnet")}
}

func newHostKeyList() *cobra.Command {
	var (
		f      hostKeyFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "list [--json]", Short: "List the pinned keys, and those that were refused instead", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := gateway.HostKeys(f.dir)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(map[string]any{"schema_version": 1, "host_keys": keys})
			}
			return writeHostKeys(cmd.OutOrStdout(), keys)
		},
	}
	f.add(cmd, false)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func writeHostKeys(w io.Writer, keys []gateway.HostKey) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "DESTINATION\tVNET\tPINNED\tAUTHORITY\tSINCE\tREFUSED\tAT")
	for _, k := range keys {
		authority, refused, at := "-", "-", "-"
		if k.Authority != "" {
			authority = k.Authority
		}
		if k.Refused != nil {
			refused, at = k.Refused.Fingerprint, k.Refused.At.Format(time.RFC3339)
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Destination, k.VNET, k.Fingerprint, authority, k.Since.Format(time.RFC3339), refused, at)
	}
	return tab.Flush()
}

func newHostKeyAccept() *cobra.Command {
	var (
		f           hostKeyFlags
		fingerprint string
	)
	cmd := &cobra.Command{
		Use: "accept ADDRESS:PORT --fingerprint SHA256:...", Short: "Pin the key that was refused at a target", Args: cobra.ExactArgs(1),
		Long: `Pin the key that was refused last at a target, in place of the old one. Its fingerprint is
to be had from the target itself, not from here: on the target,
ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`,
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := f.pick(args[0])
			if err != nil {
				return err
			}
			return gateway.AcceptHostKey(f.dir, k.VNET, k.Destination, fingerprint)
		},
	}
	f.add(cmd, true)
	cmd.Flags().StringVar(&fingerprint, "fingerprint", "", "the fingerprint of the new key, as the target itself tells it")
	if err := cmd.MarkFlagRequired("fingerprint"); err != nil {
		panic(err)
	}
	return cmd
}

func newHostKeyForget() *cobra.Command {
	var (
		f         hostKeyFlags
		authority string
	)
	cmd := &cobra.Command{
		Use: "forget ADDRESS:PORT | forget --authority SHA256:...", Short: "Take a pin away: the next key that the target shows is pinned",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (authority != "") {
				return usageError{errors.New("name one ADDRESS:PORT, or an --authority")}
			}
			if authority != "" {
				n, err := gateway.ForgetHostAuthority(f.dir, authority)
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d pins taken away\n", n)
				}
				return err
			}
			k, err := f.pick(args[0])
			if err != nil {
				return err
			}
			return gateway.ForgetHostKey(f.dir, k.VNET, k.Destination)
		},
	}
	f.add(cmd, true)
	cmd.Flags().StringVar(&authority, "authority", "", "take the pins away of all targets that showed a host certificate of this authority last")
	return cmd
}
