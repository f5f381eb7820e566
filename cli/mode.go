package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// modes are the modes that there are.
var modes = []string{localapi.ModeProxy, localapi.ModeTunnelOnly}

// otherModes are modes of other clients, and what to use instead.
var otherModes = map[string]string{
	"warp":        "this client moves only what you send to it: warp-cli mode proxy, then point programs at the proxy",
	"doh":         "the system's DNS is never touched; names of targets resolve in the proxy: warp-cli dns resolve NAME",
	"warp+doh":    "this client moves only what you send to it, and never touches the system's DNS: warp-cli mode proxy",
	"dot":         "the system's DNS is never touched; names of targets resolve in the proxy: warp-cli dns resolve NAME",
	"warp+dot":    "this client moves only what you send to it, and never touches the system's DNS: warp-cli mode proxy",
	"postureonly": "there is no mode without a tunnel: warp-cli disconnect",
}

func newMode(a *app) *cobra.Command {
	cmd := leaf(help{
		"mode [MODE]", "Show or set how programs reach targets",
		`Without an argument: shows the mode and who set it. The modes:

  proxy        SOCKS5 and HTTP CONNECT listen (see: warp-cli proxy show)
  tunnel_only  only the local socket (warp-cli nc, ssh) and forwards; no listener

Open connections live on when the mode changes. Modes of other clients are refused with
what to use instead.`,
		`  warp-cli mode
  warp-cli mode proxy
  warp-cli mode tunnel_only`,
	}, 0, 1, func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return a.modeShow(cmd)
		}
		return a.modeSet(cmd, args[0])
	})
	cmd.ValidArgsFunction = only(modes)
	return cmd
}

func (a *app) modeShow(cmd *cobra.Command) error {
	s, err := a.setting(cmd.Context(), localapi.SettingMode)
	if err != nil {
		return err
	}
	return a.print(s, func(w io.Writer, _ render.Style) error {
		_, err := fmt.Fprintf(w, "Mode: %s\nSet by: %s\n", render.Clean(s.Value), render.Clean(s.Origin))
		return err
	})
}

func (a *app) modeSet(cmd *cobra.Command, mode string) error {
	if instead, ok := otherModes[mode]; ok {
		return &client.Error{Code: codeNotOffered, Message: "mode " + mode + " is not offered", Hint: instead}
	}
	if mode == "tunnel-only" {
		mode = localapi.ModeTunnelOnly
	}
	if mode != localapi.ModeProxy && mode != localapi.ModeTunnelOnly {
		return usageErrorHint("one of: proxy, tunnel_only", "%q is not a mode", mode)
	}
	return a.settingsSet(cmd.Context(), localapi.SettingMode, mode)
}

func newProxy(a *app) *cobra.Command {
	show := leaf(help{
		"show", "Show where the proxy listens",
		`Shows the address of SOCKS5 and HTTP CONNECT, the port that is set and who set it.`,
		`  warp-cli proxy show
  warp-cli proxy show --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error { return a.proxyShow(cmd) })
	port := leaf(help{
		"port N", "Change the port of the proxy",
		`Moves SOCKS5 and HTTP CONNECT to another port, now and over restarts. Connections through
the old port stay open. When the new port is taken, the old one is kept.`,
		`  warp-cli proxy port 41000`,
	}, 1, 1, func(cmd *cobra.Command, args []string) error {
		if _, err := parsePort("PORT", args[0]); err != nil {
			return err
		}
		if err := a.settingsSet(cmd.Context(), localapi.SettingProxyPort, args[0]); err != nil {
			return err
		}
		s, err := a.client().Status(cmd.Context())
		if err == nil && s.ProxyAddress == "" {
			a.note("the proxy is off; to switch it on: warp-cli mode proxy")
		}
		return err
	})
	return noun("proxy", "Show or move the SOCKS5 and HTTP CONNECT proxy", port, show, newProxyEnv(a), newProxyPAC(a))
}

// proxyInfo is what `proxy show` prints.
type proxyInfo struct {
	SchemaVersion int    `json:"schema_version"`
	Listening     bool   `json:"listening"`
	Address       string `json:"address"` // "": it does not listen
	Port          string `json:"port"`    // as set
	PortOrigin    string `json:"port_origin"`
	Mode          string `json:"mode"`
	ModeOrigin    string `json:"mode_origin"`
}

func (a *app) proxyShow(cmd *cobra.Command) error {
	l, err := a.client().Settings(cmd.Context())
	if err != nil {
		return err
	}
	st, err := a.client().Status(cmd.Context())
	if err != nil {
		return err
	}
	port, err := find(l, localapi.SettingProxyPort)
	if err != nil {
		return err
	}
	mode, err := find(l, localapi.SettingMode)
	if err != nil {
		return err
	}
	info := proxyInfo{
		SchemaVersion: localapi.SchemaVersion, Listening: st.ProxyAddress != "", Address: st.ProxyAddress,
		Port: port.Value, PortOrigin: port.Origin, Mode: mode.Value, ModeOrigin: mode.Origin,
	}
	return a.print(info, func(w io.Writer, s render.Style) error {
		where := s.Clean(info.Address) + " (SOCKS5 and HTTP CONNECT)"
		if !info.Listening {
			where = "off"
		}
		_, err := fmt.Fprintf(w, "Proxy: %s\nPort: %s (%s)\nMode: %s (%s)\n",
			where, s.Clean(info.Port), s.Clean(info.PortOrigin), s.Clean(info.Mode), s.Clean(info.ModeOrigin))
		return err
	})
}
