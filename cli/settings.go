package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// settingNames are completed; the agent has the last word.
var settingNames = []string{
	localapi.SettingAutoConnect, localapi.SettingMode, localapi.SettingProxyPort, localapi.SettingEndpoint, localapi.SettingProtocol,
}

func newSettings(a *app) *cobra.Command {
	list := leaf(help{
		"list", "List the settings, and who set them",
		`Lists every setting with its value and its origin: default, command_line (of warp-svc), user
or mdm. What your administrator manages (mdm) wins and cannot be changed here.`,
		`  warp-cli settings list
  warp-cli settings list --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error { return a.settingsList(cmd.Context()) })
	get := leaf(help{
		"get NAME", "Show one setting",
		`Prints the value of one setting and nothing else; with --json also its origin.`,
		`  warp-cli settings get proxy_port`,
	}, 1, 1, func(cmd *cobra.Command, args []string) error { return a.settingsGet(cmd.Context(), args[0]) })
	set := leaf(help{
		"set NAME VALUE", "Change one setting",
		`Changes one setting; it stays so over restarts. settings list shows the names.`,
		`  warp-cli settings set proxy_port 41000
  warp-cli settings set auto_connect 15`,
	}, 2, 2, func(cmd *cobra.Command, args []string) error { return a.settingsSet(cmd.Context(), args[0], args[1]) })
	reset := leaf(help{
		"reset [NAME...]", "Give settings their defaults again",
		`Forgets what was set by the user: the named settings, or all. What your administrator
manages stays as it is.`,
		`  warp-cli settings reset
  warp-cli settings reset proxy_port`,
	}, 0, 64, func(cmd *cobra.Command, args []string) error {
		l, err := a.client().ResetSettings(cmd.Context(), args)
		if err != nil {
			return err
		}
		return a.print(l, func(w io.Writer, st render.Style) error {
			return success(w, st, "The settings have their defaults again")
		})
	})
	get.ValidArgsFunction, set.ValidArgsFunction, reset.ValidArgsFunction = only(settingNames), only(settingNames), only(settingNames)
	return noun("settings", "Show and change the settings of the agent", list, get, set, reset)
}

func (a *app) settingsList(ctx context.Context) error {
	l, err := a.client().Settings(ctx)
	if err != nil {
		return err
	}
	return a.print(l, func(w io.Writer, _ render.Style) error { return render.Settings(w, l) })
}

// oneSetting is the JSON of a single setting.
type oneSetting struct {
	SchemaVersion int `json:"schema_version"`
	localapi.Setting
}

func (a *app) setting(ctx context.Context, name string) (*oneSetting, error) {
	l, err := a.client().Settings(ctx)
	if err != nil {
		return nil, err
	}
	return find(l, name)
}

func find(l *localapi.SettingList, name string) (*oneSetting, error) {
	for _, s := range l.Settings {
		if s.Name == name {
			return &oneSetting{l.SchemaVersion, s}, nil
		}
	}
	return nil, &client.Error{Code: "not_found", Message: "there is no setting " + quoteWord(name), Hint: "see: warp-cli settings list"}
}

func quoteWord(s string) string { return `"` + render.Clean(s) + `"` }

func (a *app) settingsGet(ctx context.Context, name string) error {
	s, err := a.setting(ctx, name)
	if err != nil {
		return err
	}
	return a.print(s, func(w io.Writer, _ render.Style) error {
		_, err := io.WriteString(w, render.Clean(s.Value)+"\n")
		return err
	})
}

func (a *app) settingsSet(ctx context.Context, name, value string) error {
	if value == "" || value != strings.TrimSpace(value) {
		return usageErrorHint("to forget a setting: warp-cli settings reset "+name, "the value %q is empty or has blanks around it", value)
	}
	l, err := a.client().SetSetting(ctx, name, value)
	if err != nil {
		return err
	}
	s, err := find(l, name)
	if err != nil {
		return err
	}
	return a.print(s, func(w io.Writer, st render.Style) error {
		return success(w, st, st.Clean(s.Name)+" is "+st.Clean(s.Value)+" now")
	})
}
