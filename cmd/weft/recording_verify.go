package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"weft/gateway/recording"
	"weft/internal/kind"
)

func newRecordingVerify() *cobra.Command {
	var (
		store storeFlags
		keys  []string
		cfg   recording.VerifyConfig
	)
	cmd := &cobra.Command{
		Use:   "verify {FILE|SESSION}... {--key FILE|--any-key}",
		Short: "Check that recordings are as a gateway wrote them",
		Long: `Read whole recordings and check the chain of their chunks, every signature, the end and
the index. What was altered, removed, added, moved or cut is reported with the first chunk
that is wrong and the time from which on the recording cannot be trusted.

--key names the gateway's public key, recording_key.pub in its state directory; keep
a copy where the recordings are not. Without it nobody is known to have signed, and
--any-key must say that this is meant.

A recording whose tail was cut off is not told from one whose gateway just died: both have no
end, and verify fails. One from which a file was made that ends earlier, and which only somebody
who holds the gateway's key can make, is found by --head: the hash of the last chunk
that the gateway's audit log has in its event "recording_end".`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := trusted(&cfg, keys); err != nil {
				return err
			}
			if cfg.Head != "" && len(args) > 1 {
				return usageError{errors.New("--head is for one recording")}
			}
			bad := 0
			for _, what := range args {
				file, name, err := store.open(cmd.Context(), what)
				if err != nil {
					return err
				}
				c := cfg
				c.Name = name
				rep, err := recording.Verify(file, c)
				if cerr := file.Close(); cerr != nil {
					return cerr
				}
				if err != nil {
					bad++
					if _, werr := fmt.Fprintf(cmd.OutOrStdout(), "%s: NOT VALID: %s\n", name, err); werr != nil {
						return werr
					}
					continue
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: valid: %d chunks, %s, signed with key %s, head %s\n", name, rep.Chunks,
					rep.End.Reason, rep.KeyID, rep.Head); err != nil {
					return err
				}
			}
			if bad > 0 {
				return kind.New(kind.Invalid, "%d of %d recordings are not valid", bad, len(args))
			}
			return nil
		},
	}
	store.add(cmd, false)
	cmd.Flags().StringArrayVar(&keys, "key", nil, "file with a gateway's public recording key (repeatable)")
	cmd.Flags().BoolVar(&cfg.AnyKey, "any-key", false, "trust whatever key a recording names: finds accidents, not forgeries")
	cmd.Flags().StringVar(&cfg.Head, "head", "", "hash of the last chunk, from the audit log")
	return cmd
}

func trusted(cfg *recording.VerifyConfig, files []string) error {
	if len(files) == 0 && !cfg.AnyKey {
		return usageError{errors.New("--key FILE is required, or --any-key")}
	}
	cfg.Keys = make([]ed25519.PublicKey, 0, len(files))
	for _, p := range files {
		b, err := os.ReadFile(p)
		if err != nil {
			return fmt.Errorf("read --key: %w", err)
		}
		k, err := recording.ParsePublicKey(string(b))
		if err != nil {
			return kind.New(kind.Invalid, "--key %s: %s", p, err)
		}
		cfg.Keys = append(cfg.Keys, k)
	}
	return nil
}
