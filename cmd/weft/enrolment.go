package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"weft/api"
)

func newEnrolment() *cobra.Command {
	cmd := &cobra.Command{
		Use: "enrolment", Short: "Manage the keys by which devices register", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEnrolmentCreate())
	return cmd
}

func newEnrolmentCreate() *cobra.Command {
	var (
		ctl controlFlags
		key api.NewEnrolmentKey
		ttl time.Duration
	)
	cmd := &cobra.Command{
		Use:   "create --email ADDRESS",
		Short: "Create an enrolment string for a user and print it, once",
		Long: `Create an enrolment string. Hand it to the user, who runs
"warp-cli registration new STRING" on the device.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := ctl.manager()
			if err != nil {
				return err
			}
			key.TTLSeconds = int(ttl / time.Second)
			var out api.EnrolmentKey
			if err := c.Do(cmd.Context(), http.MethodPost, api.PathEnrolmentKeys, key, &out); err != nil {
				return fmt.Errorf("create enrolment key: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), out.Enrolment)
			return err
		},
	}
	ctl.add(cmd, "API token", "WEFT_API_TOKEN_FILE")
	cmd.Flags().StringVar(&key.Email, "email", "", "the user's address")
	cmd.Flags().StringVar(&key.Name, "name", "", "the user's name")
	cmd.Flags().StringSliceVar(&key.Groups, "group", nil, "group that you vouch for (repeatable)")
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long the string is good")
	cmd.Flags().IntVar(&key.MaxUses, "max-uses", 1, "how many devices may register with it")
	if err := cmd.MarkFlagRequired("email"); err != nil {
		panic(err)
	}
	return cmd
}
