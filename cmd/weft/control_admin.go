package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"weft/control"
)

func newControlToken() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "Manage API tokens in the data directory", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newControlTokenCreate(), newControlTokenRevoke())
	return cmd
}

func newControlTokenCreate() *cobra.Command {
	var (
		o    controlOptions
		name string
	)
	cmd := &cobra.Command{
		Use:   "create --name NAME",
		Short: "Create an API token and print it, once",
		Long: `Create an API token and print it. Only its hash is kept. Run it as the user
that owns the data directory; the control plane may be running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.open(cmd)
			if err != nil {
				return err
			}
			token, err := c.CreateToken(cmd.Context(), name)
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	o.addState(cmd)
	o.logFlags.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "what the token is for")
	if err := cmd.MarkFlagRequired("name"); err != nil {
		panic(err)
	}
	return cmd
}

func newControlTokenRevoke() *cobra.Command {
	var (
		o    controlOptions
		name string
	)
	cmd := &cobra.Command{
		Use:   "revoke --name NAME",
		Short: "Revoke the API tokens of a name",
		Long: `Revoke the API tokens that were created with a name. Run it as the user that
owns the data directory; a control plane that runs refuses them from then on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.open(cmd)
			if err != nil {
				return err
			}
			n, err := c.RevokeTokens(cmd.Context(), name)
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked: %d\n", n)
			return err
		},
	}
	o.addState(cmd)
	o.logFlags.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the name of the tokens")
	if err := cmd.MarkFlagRequired("name"); err != nil {
		panic(err)
	}
	return cmd
}

func newControlAccount() *cobra.Command {
	var o controlOptions
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Print the ID of the account in the data directory",
		Long:  "Print the ID of the account, which is part of every path of the management API.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.open(cmd)
			if err != nil {
				return err
			}
			id := c.AccountID()
			if err := c.Close(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
			return err
		},
	}
	o.addState(cmd)
	o.logFlags.add(cmd)
	return cmd
}

// open opens the data directory without serving.
func (o *controlOptions) open(cmd *cobra.Command) (*control.Control, error) {
	logger, err := o.logger(cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	o.Logger = logger
	o.Listen = "127.0.0.1:0" // never answered: the server itself may be running
	return control.New(o.Config)
}
