package cli

import (
	"io"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/cli/render"
)

func newRegistrationToken(a *app) *cobra.Command {
	return leaf(help{
		"token [TOKEN | -]", "Register this device with a token: the same as registration new",
		`Registers this device with an enrolment string, which scripts made for other clients call a token.
The same as warp-cli registration new.`,
		`  warp-cli registration token -`,
	}, 0, 1, func(cmd *cobra.Command, args []string) error {
		enrolment, err := a.readEnrolment(args, "")
		if err != nil {
			return err
		}
		return a.registrationNew(cmd.Context(), enrolment)
	})
}

// organization is what `registration organization` prints.
type organization struct {
	SchemaVersion int    `json:"schema_version"`
	AccountID     string `json:"account_id"`
	ControlURL    string `json:"control_url"`
	Email         string `json:"email"`
	Name          string `json:"name"` // as managed; "": not said
	SupportURL    string `json:"support_url"`
}

func newRegistrationOrganization(a *app) *cobra.Command {
	return leaf(help{
		"organization", "Show the organization that this device belongs to",
		`Shows the account and control plane that this device is registered with, and the name and support
address that your administrator manages, if any.`,
		`  warp-cli registration organization`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		r, err := a.client().Registration(cmd.Context())
		if err != nil {
			return err
		}
		l, err := a.client().Settings(cmd.Context())
		if err != nil {
			return err
		}
		o := organization{SchemaVersion: localapi.SchemaVersion, AccountID: r.AccountID, ControlURL: r.ControlURL, Email: r.Email}
		if s, err := find(l, localapi.SettingOrg); err == nil {
			o.Name = s.Value
		}
		if s, err := find(l, localapi.SettingSupportURL); err == nil {
			o.SupportURL = s.Value
		}
		return a.print(o, func(w io.Writer, _ render.Style) error {
			return render.Lines(w, "Organization", o.Name, "Account ID", o.AccountID, "Control plane", o.ControlURL, "Email", o.Email, "Support", o.SupportURL)
		})
	})
}

func newRegistrationDevices(a *app) *cobra.Command {
	return leaf(help{
		"devices", "List your registered devices",
		`Lists the devices that are registered for you, this one marked. One that you do not know is a
reason to ask your administrator to revoke it.`,
		`  warp-cli registration devices
  warp-cli registration devices --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		l, err := a.client().Devices(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(l, func(w io.Writer, _ render.Style) error { return render.Devices(w, l) })
	})
}
