package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"weft/api"
	"weft/gateway"
	"weft/internal/kind"
)

func newGateway() *cobra.Command {
	var (
		serve             serveFlags
		ctl               controlFlags
		record            recordFlags
		cfg               gateway.Config
		listen, connector string
	)
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run a gateway",
		Long: `Run a gateway: the WireGuard endpoint of devices and the QUIC endpoint of
connectors. Its token comes from "weft gateway create".

Told to stop (SIGTERM, SIGINT) it takes no new sessions, waits for those that are live, for
--drain-timeout at most, and ends; without any it ends at once. A second signal ends it at
once too.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := serve.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			token, err := ctl.resolve()
			if err != nil {
				return err
			}
			if cfg.Control, err = ctl.client(token, logger); err != nil {
				return err
			}
			if cfg.Listen, err = addrPort("--listen", listen); err != nil {
				return err
			}
			if cfg.ConnectorListen, err = addrPort("--connector-listen", connector); err != nil {
				return err
			}
			cfg.Logger = logger
			closeStore, err := record.apply(cmd.Context(), &cfg.Recording)
			if err != nil {
				return err
			}
			g, err := gateway.New(cfg)
			if err != nil {
				return errors.Join(err, closeStore())
			}
			return errors.Join(serve.serveDraining(cmd.Context(), g, logger), closeStore())
		},
	}
	serve.add(cmd)
	ctl.add(cmd, "gateway's token", "WEFT_GATEWAY_TOKEN_FILE")
	cmd.Flags().StringVar(&cfg.StateDir, "state-dir", "/var/lib/weft/gateway", "directory of keys, pinned host keys and the last known policy")
	cmd.Flags().StringVar(&listen, "listen", "0.0.0.0:51820", "UDP address of WireGuard")
	cmd.Flags().StringVar(&connector, "connector-listen", "0.0.0.0:7844", "UDP address of QUIC for connectors")
	cmd.Flags().StringSliceVar(&cfg.AdvertiseHosts, "advertise", nil, "name or address by which devices and connectors reach this gateway (repeatable)")
	cmd.Flags().StringVar(&cfg.AuditFile, "audit-file", "", "JSON-lines audit log; default: audit.jsonl in the state directory")
	cmd.Flags().DurationVar(&cfg.DrainTimeout, "drain-timeout", 30*time.Second, "how long to wait for live sessions when told to stop, taking no new ones; 0: not at all")
	record.add(cmd)
	cmd.AddCommand(newGatewayCreate(), newGatewayDrain(), newGatewayList())
	return cmd
}

func newGatewayCreate() *cobra.Command {
	var (
		ctl  controlFlags
		name string
	)
	cmd := &cobra.Command{
		Use:   "create --name NAME",
		Short: "Register a gateway and print its token, once",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := ctl.manager()
			if err != nil {
				return err
			}
			var g api.NewGatewayResult
			if err := c.Do(cmd.Context(), http.MethodPost, api.PathGateways, api.NewGateway{Name: name}, &g); err != nil {
				return fmt.Errorf("create gateway: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), g.Token)
			return err
		},
	}
	ctl.add(cmd, "API token", "WEFT_API_TOKEN_FILE")
	cmd.Flags().StringVar(&name, "name", "", "name of the gateway")
	if err := cmd.MarkFlagRequired("name"); err != nil {
		panic(err)
	}
	return cmd
}

func addrPort(flag, s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, kind.New(kind.Invalid, "%s %q is not ADDRESS:PORT", flag, s)
	}
	return ap, nil
}
