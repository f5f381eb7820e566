package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"weft/dev"
	"weft/internal/kind"
)

func newDev() *cobra.Command {
	var (
		serve      serveFlags
		cfg        dev.Config
		listen     string
		connectors []string
	)
	cmd := &cobra.Command{
		Use:   "dev --dir DIR",
		Short: "Run control plane, gateway and connectors in one process, for development",
		Long: `Run everything in one process, as an ordinary user, on SQLite in DIR. Ports are
free ones unless given; a second start on the same DIR keeps tokens, authority
and, when they are free, ports. --ready-file is written (atomically) once
everything answers. Then

  eval "$(weft dev env --dir DIR)"

sets what API clients, Terraform and "warp-cli registration new" need.

--connector NAME[,ADDRESS:PORT=ADDRESS:PORT...] runs a connector for the tunnel
NAME in the same process, and creates the tunnel when there is none of that name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := serve.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			cfg.Logger = logger
			if cfg.Listen, err = netip.ParseAddr(listen); err != nil {
				return kind.New(kind.Invalid, "--listen %q is not an IP address", listen)
			}
			for _, s := range connectors {
				c, err := parseDevConnector(s)
				if err != nil {
					return err
				}
				cfg.Connectors = append(cfg.Connectors, c)
			}
			d, err := dev.New(cfg)
			if err != nil {
				return err
			}
			return serve.serveDraining(cmd.Context(), d, logger)
		},
	}
	serve.add(cmd)
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "directory of all state")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1", "IP address to bind")
	cmd.Flags().StringVar(&cfg.Advertise, "advertise", "", "name or address by which others reach it; default: the --listen address")
	cmd.Flags().Uint16Var(&cfg.ControlPort, "control-port", 0, "TCP port of the control plane; 0: last time's, or a free one")
	cmd.Flags().Uint16Var(&cfg.WireGuardPort, "wireguard-port", 0, "UDP port of WireGuard; 0: last time's, or a free one")
	cmd.Flags().Uint16Var(&cfg.ConnectorPort, "connector-port", 0, "UDP port for connectors; 0: last time's, or a free one")
	cmd.Flags().StringArrayVar(&connectors, "connector", nil, "tunnel to run a connector for (repeatable)")
	cmd.Flags().DurationVar(&cfg.DrainTimeout, "drain-timeout", 0, "how long to wait for live sessions when told to stop; 0: not at all")
	cmd.Flags().BoolVar(&cfg.Record, "record", false, "record SSH sessions, in gateway/recordings of the directory")
	if err := cmd.MarkFlagRequired("dir"); err != nil {
		panic(err)
	}
	cmd.AddCommand(newDevEnv())
	return cmd
}

func parseDevConnector(s string) (dev.Connector, error) {
	name, rest, mapped := strings.Cut(s, ",")
	if name == "" {
		return dev.Connector{}, usageError{errors.New("--connector wants NAME[,ADDRESS:PORT=ADDRESS:PORT...]")}
	}
	c := dev.Connector{Tunnel: name}
	if !mapped {
		return c, nil
	}
	m, err := dev.ParseMap(strings.Split(rest, ","))
	c.Map = m
	return c, err
}

func newDevEnv() *cobra.Command {
	var dir, email string
	cmd := &cobra.Command{
		Use:   "env --dir DIR",
		Short: "Print shell exports for a running weft dev",
		Long: `Print shell exports for the weft dev that runs on DIR:
CLOUDFLARE_BASE_URL, CLOUDFLARE_API_HOSTNAME, CLOUDFLARE_API_BASE_PATH,
CLOUDFLARE_API_TOKEN, CLOUDFLARE_ACCOUNT_ID, SSL_CERT_FILE (a bundle of the
system's authorities and the development one) and WEFT_ENROLMENT (a fresh
enrolment string for the user, good once).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := dev.Environment(cmd.Context(), dir, email)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), env.Shell())
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the --dir of the running weft dev")
	cmd.Flags().StringVar(&email, "email", "jdoe@company.com", "user that the enrolment string is for")
	if err := cmd.MarkFlagRequired("dir"); err != nil {
		panic(err)
	}
	return cmd
}
