package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control/sshca"
	"weft/internal/kind"
)

func newSSHCAKRL() *cobra.Command {
	var (
		ctl    controlFlags
		output string
	)
	cmd := &cobra.Command{
		Use: "krl [--output FILE]", Short: "Fetch the key revocation list for sshd's RevokedKeys", Args: cobra.NoArgs,
		Long: `Fetch the list of what targets must not take any more: certificates in force whose session
was cut or whose user or device was revoked, and user CAs that were removed. It needs no
token. Without --output it is shown; with it the file is replaced as a whole, and only by
a list that was read completely, because sshd refuses every key when its RevokedKeys
cannot be read.

A certificate lives less than three minutes, so a list that is fetched less often than every
minute serves for removed CAs alone.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := fetchKRL(cmd.Context(), &ctl)
			if err != nil {
				return fmt.Errorf("fetch key revocation list: %w", err)
			}
			parsed, err := sshca.ParseKRL(list)
			if err != nil {
				return fmt.Errorf("read key revocation list: %w", err)
			}
			if output == "" {
				return showKRL(cmd.OutOrStdout(), parsed)
			}
			return replaceFile(output, list)
		},
	}
	ctl.add(cmd, "API token (not needed)", "WEFT_API_TOKEN_FILE")
	cmd.Flags().StringVarP(&output, "output", "o", "", "the `FILE` to replace, such as /etc/ssh/weft_revoked.krl")
	return cmd
}

func fetchKRL(ctx context.Context, ctl *controlFlags) (list []byte, err error) {
	if err := ctl.place(); err != nil {
		return nil, err
	}
	c, err := ctl.client("", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Bytes(ctx, api.PathSSHKRL)
}

// place fills what says where the control plane is, for a command that needs no token.
func (f *controlFlags) place() error {
	fallback(&f.url, "WEFT_CONTROL_URL")
	fallback(&f.caFile, "WEFT_CA_FILE")
	if f.url == "" {
		return usageError{errors.New("--control or WEFT_CONTROL_URL is required")}
	}
	return nil
}

func showKRL(w io.Writer, k *sshca.KRL) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "REVOKED\tCA\t(list %d of %s)\n", k.Version, k.Generated.Format(time.RFC3339))
	for _, key := range k.Keys {
		fmt.Fprintf(tab, "all of\t%s\t\n", ssh.FingerprintSHA256(key))
	}
	for _, ca := range k.Serials {
		for _, serial := range ca.Serials {
			fmt.Fprintf(tab, "%d\t%s\t\n", serial, ssh.FingerprintSHA256(ca.CA))
		}
	}
	return tab.Flush()
}

// replaceFile writes a file beside path and puts it in its place, so that a reader sees the old or the new one. It is readable for
// all: sshd reads it as root, ssh-keygen -Q as anybody.
func replaceFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // it was of no use
			err = kind.New(kind.Unavailable, "%s stays as it was: %v", path, err).WithCause(err)
		}
	}()
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
