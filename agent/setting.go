package agent

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/mdm"
	"weft/agent/proxy"
	"weft/internal/kind"
)

// settingSpec is one row of the table of settings.
type settingSpec struct {
	name, def, description string
	// read returns the value in force and who said so.
	read func(a *Agent, p *preferences) (value, from string)
	// write sets the user's choice; "" forgets it. nil: only the administrator can set it.
	write func(p *preferences, value string) error
}

// settingTable is every setting, by name.
var settingTable = []settingSpec{
	{
		localapi.SettingAutoConnect, "0", "minutes after which a disconnected agent connects again by itself, 0 to 1440; 0: never",
		func(a *Agent, p *preferences) (string, string) {
			n, from := a.autoConnect(p)
			return strconv.Itoa(n), from
		},
		func(p *preferences, v string) error {
			if v == "" {
				p.AutoConnectMinutes = nil
				return nil
			}
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || n > 1440 {
				return fault.New(string(kind.Invalid), "auto_connect is a number of minutes from 0 to 1440, not %q", fault.Clip(v))
			}
			p.AutoConnectMinutes = &n
			return nil
		},
	},
	{
		localapi.SettingMode, localapi.ModeProxy, "proxy: SOCKS5 and HTTP CONNECT listen; tunnel_only: only the local socket and forwards",
		(*Agent).mode,
		func(p *preferences, v string) error {
			if v != "" && v != localapi.ModeProxy && v != localapi.ModeTunnelOnly {
				return fault.New(string(kind.Invalid), "operation_mode is %s or %s, not %q", localapi.ModeProxy, localapi.ModeTunnelOnly, fault.Clip(v)).
					WithHint("run: warp-cli mode --help")
			}
			p.Mode = v
			return nil
		},
	},
	{
		localapi.SettingOrg, "", "the organization, for people to read; managed only",
		func(a *Agent, _ *preferences) (string, string) { return fromPolicy(a.managed().Organization) }, nil,
	},
	{
		localapi.SettingProxyPort, defaultPort(), "port of SOCKS5 and HTTP CONNECT on " + strings.TrimSuffix(proxy.DefaultListen, ":"+defaultPort()),
		func(a *Agent, p *preferences) (string, string) {
			n, from := a.proxyPort(p)
			return strconv.Itoa(int(n)), from
		},
		func(p *preferences, v string) error {
			if v == "" {
				p.ProxyPort = 0
				return nil
			}
			n, err := strconv.ParseUint(v, 10, 16)
			if err != nil || n == 0 {
				return fault.New(string(kind.Invalid), "proxy_port is a port from 1 to 65535, not %q", fault.Clip(v))
			}
			p.ProxyPort = uint16(n)
			return nil
		},
	},
	{
		localapi.SettingSupportURL, "", "where to ask for help; managed only",
		func(a *Agent, _ *preferences) (string, string) { return fromPolicy(a.managed().SupportURL) }, nil,
	},
	{
		localapi.SettingLocked, "false", "true: the user may not disconnect; managed only",
		func(a *Agent, _ *preferences) (string, string) {
			if l := a.managed().SwitchLocked; l != nil {
				return strconv.FormatBool(*l), localapi.OriginMDM
			}
			return "false", localapi.OriginDefault
		}, nil,
	},
	{
		localapi.SettingEndpoint, "", "HOST:PORT of the gateway instead of what the control plane says; empty: what it says",
		(*Agent).endpointOverride,
		func(p *preferences, v string) error {
			if v != "" {
				if err := mdm.CheckEndpoint(v); err != nil {
					return fault.New(string(kind.Invalid), "tunnel_endpoint %s", err)
				}
			}
			p.Endpoint = v
			return nil
		},
	},
	{
		localapi.SettingProtocol, "wireguard", "the tunnel's protocol; wireguard is the only one",
		func(a *Agent, _ *preferences) (string, string) {
			if a.managed().Protocol != nil {
				return *a.managed().Protocol, localapi.OriginMDM
			}
			return "wireguard", localapi.OriginDefault
		},
		func(_ *preferences, v string) error {
			if v != "" && v != "wireguard" {
				return fault.New(string(kind.Invalid), "tunnel protocol %q is not offered; wireguard is the only one", fault.Clip(v)).
					WithHint("gateways speak WireGuard over UDP; another UDP port is set with: warp-cli tunnel endpoint set HOST:PORT")
			}
			return nil
		},
	},
}

func fromPolicy(v string) (value, from string) {
	if v == "" {
		return "", localapi.OriginDefault
	}
	return v, localapi.OriginMDM
}

// Settings implements server.Agent.
func (a *Agent) Settings() localapi.SettingList {
	l := localapi.SettingList{SchemaVersion: localapi.SchemaVersion, Settings: []localapi.Setting{}}
	p := a.preferred()
	for _, s := range settingTable {
		value, from := s.read(a, &p)
		l.Settings = append(l.Settings, localapi.Setting{
			Name: s.name, Value: value, Default: s.def, Origin: from, Description: s.description,
			Locked: from == localapi.OriginMDM || s.write == nil,
		})
	}
	return l
}

// SetSetting implements server.Agent.
func (a *Agent) SetSetting(ctx context.Context, name, value string) (localapi.SettingList, error) {
	spec, err := a.writable(name)
	if err != nil {
		return localapi.SettingList{}, err
	}
	p := a.preferred()
	if err := spec.write(&p, value); err != nil { // so that a wrong value changes nothing
		return localapi.SettingList{}, err
	}
	if err := a.changePreferences(ctx, func(p *preferences) { _ = spec.write(p, value) }); err != nil {
		return localapi.SettingList{}, err
	}
	a.log.InfoContext(ctx, "setting changed", "name", name, "value", value)
	return a.Settings(), nil
}

// writable finds a setting that the user may change now.
func (a *Agent) writable(name string) (settingSpec, error) {
	i := slices.IndexFunc(settingTable, func(s settingSpec) bool { return s.name == name })
	if i < 0 {
		return settingSpec{}, fault.New(string(kind.NotFound), "there is no setting %q", fault.Clip(name)).WithHint("see: warp-cli settings list")
	}
	spec := settingTable[i]
	p := a.preferred()
	if _, from := spec.read(a, &p); from == localapi.OriginMDM || spec.write == nil {
		return spec, fault.New(localapi.CodePermission, "setting %s is managed by your administrator (mdm)", name).
			WithHint("to see what is managed run: warp-cli mdm get-configs")
	}
	return spec, nil
}

// ResetSettings implements server.Agent. Without names it forgets all that the user chose; what is managed stays as it is.
func (a *Agent) ResetSettings(ctx context.Context, names []string) (localapi.SettingList, error) {
	var specs []settingSpec
	for _, name := range names {
		spec, err := a.writable(name)
		if err != nil {
			return localapi.SettingList{}, err
		}
		specs = append(specs, spec)
	}
	err := a.changePreferences(ctx, func(p *preferences) {
		if len(names) == 0 {
			*p = preferences{}
		}
		for _, s := range specs {
			_ = s.write(p, "") // to forget never fails
		}
	})
	if err != nil {
		return localapi.SettingList{}, err
	}
	return a.Settings(), nil
}
