package main

import (
	"github.com/spf13/cobra"

	"weft/control"
)

// controlOptions configure the control plane.
type controlOptions struct {
	serveFlags
	control.Config
	databaseFile string
}

// addState declares the flags that name the state; "control token" needs only these.
func (o *controlOptions) addState(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.Dir, "data-dir", "/var/lib/weft/control", "directory of the database and keys")
	o.addDatabase(cmd)
}

func newControl() *cobra.Command {
	var o controlOptions
	cmd := &cobra.Command{
		Use:   "control",
		Short: "Run the control plane",
		Long: `Run the control plane: the management API under /client/v4 and /weft/v1,
enrolment, the SSH CA and the streams that keep agents, gateways and connectors
current. TLS always: with --tls-cert and --tls-key, or with a certificate of the
built-in authority (ca.pem in the data directory), whose fingerprint every
enrolment string carries.

The account is in an SQLite file in the data directory, or with --database in a
PostgreSQL, on which several control planes can serve one account. See
"weft control backup" for copies.

The first API token comes from "weft control token create --name N".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := o.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			o.Logger = logger
			if err := o.findDatabase(); err != nil {
				return err
			}
			c, err := control.New(o.Config)
			if err != nil {
				return err
			}
			return o.serve(cmd.Context(), c, logger)
		},
	}
	o.addState(cmd)
	o.add(cmd)
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8443", "address of the HTTPS server")
	cmd.Flags().StringVar(&o.PublicURL, "public-url", "", "URL by which others reach it; default: https:// and the listen address")
	cmd.Flags().StringVar(&o.TLSCertFile, "tls-cert", "", "PEM certificate chain; default: the built-in authority issues one")
	cmd.Flags().StringVar(&o.TLSKeyFile, "tls-key", "", "PEM key of --tls-cert")
	cmd.Flags().StringSliceVar(&o.Hostnames, "hostname", nil, "name or address that the built-in certificate covers besides the listen address (repeatable)")
	cmd.Flags().BoolVar(&o.ExplainAlmost, "explain-almost", false, "let \"warp-cli explain\" name a policy that includes its user and still does not let them in")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.AddCommand(newToken(), newControlAccount(), newControlBackup(), newControlRestore())
	return cmd
}
