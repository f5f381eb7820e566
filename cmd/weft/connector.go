package main

import (
	"github.com/spf13/cobra"

	"weft/api"
	"weft/connector"
	"weft/dev"
	"weft/internal/kind"
)

func newConnector() *cobra.Command {
	var (
		serve serveFlags
		ctl   controlFlags
		maps  []string
		mode  string
	)
	cmd := &cobra.Command{
		Use:   "connector --token-file F --control URL",
		Short: "Run a connector in a private network",
		Long: `Run a connector: it dials out to every gateway, and opens in its own network the
connections that the routes of its tunnel cover. The token is what the tunnel's
token endpoint answers.

--map ADDRESS:PORT=ADDRESS:PORT makes connections to the first go to the second
(both within what the connector can reach): for trying out on one machine.

--source-address says when SSH certificates are bound to the address from which this
connector reaches a target, so that they are good from nowhere else: auto, for targets
on a network that this machine is in; always, where no NAT is on the way to any target;
never, where one is even to neighbours, or a relay answers for them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := serve.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			secret, err := ctl.resolve()
			if err != nil {
				return err
			}
			cfg := connector.Config{Logger: logger, Source: connector.SourceMode(mode)}
			if cfg.Token, err = api.ParseConnectorToken(secret); err != nil {
				return kind.New(kind.Invalid, "%s holds no connector token", ctl.tokenFile).WithCause(err)
			}
			if cfg.Control, err = ctl.client(secret, logger); err != nil {
				return err
			}
			if cfg.Map, err = dev.ParseMap(maps); err != nil {
				return err
			}
			c, err := connector.New(cfg)
			if err != nil {
				return err
			}
			return serve.serve(cmd.Context(), c, logger)
		},
	}
	serve.add(cmd)
	ctl.add(cmd, "tunnel's token", "WEFT_CONNECTOR_TOKEN_FILE")
	cmd.Flags().StringArrayVar(&maps, "map", nil, "ADDRESS:PORT=ADDRESS:PORT, where connections to the first go (repeatable)")
	cmd.Flags().StringVar(&mode, "source-address", string(connector.SourceAuto), "bind SSH certificates to this connector's address: auto, always or never")
	return cmd
}
