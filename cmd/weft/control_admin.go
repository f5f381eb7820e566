package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weft/control"
)

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
	if err := o.findDatabase(); err != nil {
		return nil, err
	}
	o.Listen = "127.0.0.1:0" // never answered: the server itself may be running
	return control.New(o.Config)
}
