package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"weft/internal/buildinfo"
	"weft/probe"
)

func newProbe() *cobra.Command {
	var (
		cfg           probe.Config
		enrolmentFile string
		target        string
		asJSON        bool
	)
	cmd := &cobra.Command{
		Use:   "probe --state DIR --target ADDRESS:PORT --vnet NAME",
		Short: "Check a gateway from outside, with none of Weft's packet code",
		Long: `Enrol as a device (once: the registration is kept in --state), perform a
WireGuard handshake, ask the gateway for an answer through the tunnel, and
connect to a target. Prints what each step took.

The enrolment string is read from --enrolment-file or the file that
WEFT_ENROLMENT_FILE names; it is needed until the registration exists.

Exit status:
  0   every step held
  10  control: it did not answer, or refused the registration
  11  handshake: the gateway did not answer WireGuard, or nothing came through the tunnel
  12  denied: policy does not let this user reach the target, or the VNET is not the user's
  13  refused: the target (or the gateway in its name) refused the connection
  14  timeout: no answer from the target in time
  15  unreachable: the gateway has no way to the target`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Target, err = addrPort("--target", target); err != nil {
				return err
			}
			fallback(&enrolmentFile, "WEFT_ENROLMENT_FILE")
			if enrolmentFile != "" {
				if cfg.Enrolment, err = readSecret("--enrolment-file", enrolmentFile); err != nil && !probe.Enrolled(cfg.StateDir) {
					return err
				}
			}
			cfg.Version = buildinfo.Version()
			report, err := probe.Run(cmd.Context(), cfg)
			if report == nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return errors.Join(err, json.NewEncoder(out).Encode(report))
			}
			_, printErr := fmt.Fprint(out, report.Text())
			return errors.Join(err, printErr)
		},
	}
	cmd.Flags().StringVar(&enrolmentFile, "enrolment-file", "", "file that holds the enrolment string (WEFT_ENROLMENT_FILE)")
	cmd.Flags().StringVar(&cfg.StateDir, "state", "", "directory that keeps the registration")
	cmd.Flags().StringVar(&target, "target", "", "ADDRESS:PORT to connect to")
	cmd.Flags().StringVar(&cfg.VNET, "vnet", "", "name or ID of the virtual network; default: the account's default")
	cmd.Flags().DurationVar(&cfg.Timeout, "timeout", 5*time.Second, "limit of each step")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	for _, name := range []string{"state", "target"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return cmd
}
