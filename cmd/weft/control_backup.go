package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weft/control"
	"weft/control/store"
	"weft/internal/kind"
)

// notSQLite says what to use for the other database.
func (o *controlOptions) notSQLite() error {
	if err := o.findDatabase(); err != nil || o.Database == "" {
		return err
	}
	return kind.New(kind.Invalid, "the account is in PostgreSQL, which has its own tools for this").
		WithHint("pg_dump --format=custom, and pg_restore; keep store.key from the data directory as well (docs/operations.md)")
}

func newControlBackup() *cobra.Command {
	var o controlOptions
	var out string
	cmd := &cobra.Command{
		Use:   "backup --out FILE",
		Short: "Write a consistent copy of the account to a file, while the control plane runs",
		Long: `Write a copy of the SQLite database in the data directory to FILE, consistent
whatever is written meanwhile, with mode 0600. FILE must not exist. The copy is
read back and checked before it gets its name. Run it as the user that owns the
data directory.

The secrets in the copy are sealed under store.key, and the built-in authority is
in ca.pem and ca-key.pem: both do not change, are not in the copy, and are needed
with it. Keep them elsewhere than the copies.`,
		Example: `  weft control backup --out /backup/weft-$(date +%F).db
  weft control restore --from /backup/weft-2026-11-22.db --data-dir /var/lib/weft/control`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.notSQLite(); err != nil {
				return err
			}
			b, err := control.Backup(cmd.Context(), o.Dir, out)
			if err != nil {
				return err
			}
			return printBackup(cmd, out, b)
		},
	}
	o.addState(cmd)
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; it must not exist")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err)
	}
	return cmd
}

func newControlRestore() *cobra.Command {
	var o controlOptions
	var from string
	cmd := &cobra.Command{
		Use:   "restore --from FILE",
		Short: "Put a backup into a data directory without a database",
		Long: `Check a backup and put it into the data directory, which must have the store.key
of the account and no database (move an old one away, with its -wal and -shm
files, while no control plane runs). What was changed after the backup was made is
gone; agents and gateways are told the restored state when the control plane starts.`,
		Example: `  weft control restore --from /backup/weft-2026-11-22.db --data-dir /var/lib/weft/control`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.notSQLite(); err != nil {
				return err
			}
			b, err := control.Restore(cmd.Context(), o.Dir, from)
			if err != nil {
				return err
			}
			return printBackup(cmd, from, b)
		},
	}
	o.addState(cmd)
	cmd.Flags().StringVar(&from, "from", "", "backup `file`")
	if err := cmd.MarkFlagRequired("from"); err != nil {
		panic(err)
	}
	return cmd
}

func printBackup(cmd *cobra.Command, file string, b store.Backup) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "file:     %s\nbytes:    %d\naccount:  %s\nrevision: %d\nkey:      %s (store.key)\n",
		file, b.Bytes, b.Account, b.Revision, b.Key)
	return err
}
