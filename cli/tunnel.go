package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// keptOpen says what became of the open connections; none is no loss.
func keptOpen(n int) string {
	if n == 0 {
		return "no connection was open"
	}
	return render.Count(n, "connection") + " stayed open"
}

func newTunnel(a *app) *cobra.Command {
	rotate := leaf(help{
		"rotate-keys", "Give this device another WireGuard key",
		`Makes a new WireGuard key, tells the control plane, and changes to it when the gateway has
shaken hands with it; until then the old key is in force. Open connections live on.`,
		`  warp-cli tunnel rotate-keys`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		k, err := a.client().RotateKeys(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(k, func(w io.Writer, st render.Style) error {
			return success(w, st, fmt.Sprintf("The device's key is %s now; %s", st.Clean(k.NewPublicKey), keptOpen(k.FlowsKept)))
		})
	})
	dump := leaf(help{
		"dump", "Show the tunnel in full: keys, endpoints, addresses",
		`Shows the WireGuard interface and its peer as "wg show" does, without any private key, the
address that this device has in each virtual network, and what was dropped by cause.`,
		`  warp-cli tunnel dump
  warp-cli tunnel dump --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		t, err := a.client().Tunnel(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(t, func(w io.Writer, _ render.Style) error { return render.TunnelDump(w, t) })
	})
	return noun("tunnel", "Look into the tunnel, and change it",
		newTunnelStats(a), rotate, newTunnelEndpoint(a), newTunnelProtocol(a), dump, newTunnelIP(a), newTunnelHost(a),
		instead(a, "masque-options", "the tunnel is WireGuard over UDP; another UDP port: warp-cli tunnel endpoint set HOST:PORT"))
}

func newTunnelStats(a *app) *cobra.Command {
	return leaf(help{
		"stats", "Show what the tunnel has carried, and how well",
		`Shows bytes and packets, the age of the last handshake, round trip and loss of the probes,
the gateway's endpoint, what was dropped or refused, and the connections of each virtual
network.`,
		`  warp-cli tunnel stats
  warp-cli tunnel stats --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		t, err := a.client().Tunnel(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(t, func(w io.Writer, st render.Style) error { return render.TunnelStats(w, st, t) })
	})
}

// endpointInfo is what `tunnel endpoint` prints.
type endpointInfo struct {
	SchemaVersion int      `json:"schema_version"`
	Endpoint      string   `json:"endpoint"` // in use; "": none
	Origin        string   `json:"origin"`
	Override      string   `json:"override"` // what was set instead of the control plane's; "": nothing
	Candidates    []string `json:"candidates"`
}

func newTunnelEndpoint(a *app) *cobra.Command {
	show := leaf(help{
		"show", "Show the gateway's endpoint",
		`Shows the endpoint in use, who chose it, and all that may be tried.`,
		`  warp-cli tunnel endpoint show`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error { return a.endpointShow(cmd.Context()) })
	set := leaf(help{
		"set HOST:PORT", "Use another endpoint of the gateway",
		`Reaches the gateway at this address instead of those that the control plane names: for a
port that a firewall lets through, or a forwarder. Open connections live on when it is the
same gateway.`,
		`  warp-cli tunnel endpoint set gw.company.com:443`,
	}, 1, 1, func(cmd *cobra.Command, args []string) error {
		if err := a.setEndpoint(cmd.Context(), args[0]); err != nil {
			return err
		}
		return a.endpointShow(cmd.Context())
	})
	reset := leaf(help{
		"reset", "Use the endpoints of the control plane again",
		`Forgets what tunnel endpoint set was told.`,
		`  warp-cli tunnel endpoint reset`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		if _, err := a.client().ResetSettings(cmd.Context(), []string{localapi.SettingEndpoint}); err != nil {
			return err
		}
		return a.endpointShow(cmd.Context())
	})
	return noun("endpoint", "Show or set the gateway's endpoint", show, set, reset)
}

func (a *app) setEndpoint(ctx context.Context, hostPort string) error {
	i := strings.LastIndexByte(hostPort, ':')
	if i <= 0 || strings.ContainsAny(hostPort, " /@") {
		return usageErrorHint("for example: warp-cli tunnel endpoint set gw.company.com:443", "%q is not HOST:PORT", hostPort)
	}
	if _, err := parsePort("PORT", hostPort[i+1:]); err != nil {
		return err
	}
	_, err := a.client().SetSetting(ctx, localapi.SettingEndpoint, hostPort)
	return err
}

func (a *app) endpointShow(ctx context.Context) error {
	t, err := a.client().Tunnel(ctx)
	if err != nil {
		return err
	}
	s, err := a.setting(ctx, localapi.SettingEndpoint)
	if err != nil {
		return err
	}
	info := endpointInfo{
		SchemaVersion: localapi.SchemaVersion, Endpoint: t.Endpoint, Origin: t.EndpointOrigin, Override: s.Value,
		Candidates: append([]string{}, t.Endpoints...),
	}
	return a.print(info, func(w io.Writer, _ render.Style) error {
		return render.Lines(w, "Endpoint", orNone(info.Endpoint), "Chosen by", info.Origin, "Set instead", info.Override,
			"Candidates", strings.Join(info.Candidates, ", "))
	})
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func newTunnelProtocol(a *app) *cobra.Command {
	show := leaf(help{
		"show", "Show the tunnel's protocol",
		`Shows the protocol of the tunnel, which is WireGuard.`,
		`  warp-cli tunnel protocol show`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		return a.settingsGet(cmd.Context(), localapi.SettingProtocol)
	})
	set := leaf(help{
		"set PROTOCOL", "Set the tunnel's protocol",
		`Sets the protocol of the tunnel. WireGuard is the only one: others are refused with the reason.`,
		`  warp-cli tunnel protocol set wireguard`,
	}, 1, 1, func(cmd *cobra.Command, args []string) error {
		name := strings.ToLower(args[0])
		if name != "wireguard" {
			return &client.Error{
				Code: codeNotOffered, Message: "protocol " + quoteWord(args[0]) + " is not offered; wireguard is the only one",
				Hint: "gateways speak WireGuard over UDP; another UDP port: warp-cli tunnel endpoint set HOST:PORT",
			}
		}
		return a.settingsSet(cmd.Context(), localapi.SettingProtocol, name)
	})
	set.ValidArgsFunction = only([]string{"wireguard"})
	return noun("protocol", "Show or set the tunnel's protocol", show, set)
}

// entitled is what goes through the tunnel, by virtual network.
type entitled struct {
	SchemaVersion int            `json:"schema_version"`
	Stale         bool           `json:"stale"`
	VNETs         []entitledVNET `json:"vnets"`
}

// entitledVNET lists addresses or names of one virtual network, each with the ports that you may reach.
type entitledVNET struct {
	VNETID   string          `json:"vnet_id"`
	VNETName string          `json:"vnet_name"`
	Entries  []entitledEntry `json:"entries"`
}

type entitledEntry struct {
	Value string   `json:"value"` // an address, or a name
	Ports []uint16 `json:"ports"`
}

func newTunnelIP(a *app) *cobra.Command {
	return noun("ip", "List the addresses that go through the tunnel", leaf(help{
		"list", "List the addresses that you may reach",
		`Lists the addresses of your targets by virtual network, with their ports. Nothing else goes
through the tunnel, and nothing goes through it by itself: programs reach these through the
proxy, warp-cli nc, or a forward.`,
		`  warp-cli tunnel ip list
  warp-cli tunnel ip list --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		return a.entitledList(cmd.Context(), func(_ *localapi.Target, ad localapi.Address) string { return ad.IP })
	}),
		instead(a, "add", "what goes through the tunnel follows from your targets: warp-cli tunnel ip list"),
		instead(a, "remove", "what goes through the tunnel follows from your targets: warp-cli tunnel ip list"))
}

func newTunnelHost(a *app) *cobra.Command {
	return noun("host", "List the names that go through the tunnel", leaf(help{
		"list", "List the names that you may reach",
		`Lists the names of your targets by virtual network, with their ports. They are known to the
agent alone: the proxy, warp-cli nc and ssh resolve them; the system's DNS is never touched.`,
		`  warp-cli tunnel host list
  warp-cli tunnel host list --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		return a.entitledList(cmd.Context(), func(t *localapi.Target, _ localapi.Address) string { return t.Hostname })
	}),
		instead(a, "add", "names follow from your targets: warp-cli tunnel host list"),
		instead(a, "remove", "names follow from your targets: warp-cli tunnel host list"))
}

func (a *app) entitledList(ctx context.Context, value func(*localapi.Target, localapi.Address) string) error {
	l, err := a.client().Targets(ctx, client.Query{})
	if err != nil {
		return err
	}
	if l.Stale {
		a.note("the control plane is not being heard; this list is %s old", render.Age(l.AgeSeconds))
	}
	e := entitledOf(l, value)
	if len(e.VNETs) == 0 {
		a.note("no target has been granted to you; ask your administrator")
	}
	return a.print(e, func(w io.Writer, _ render.Style) error {
		if len(e.VNETs) == 0 {
			return nil
		}
		var rows [][]string
		for _, v := range e.VNETs {
			for _, en := range v.Entries {
				rows = append(rows, []string{render.Clean(v.VNETName), render.Clean(en.Value), ports(en.Ports)})
			}
		}
		return render.Table(w, []string{"Virtual Network", "Destination", "Ports"}, rows)
	})
}

func ports(ps []uint16) string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = fmt.Sprint(p)
	}
	return strings.Join(parts, ", ")
}

func entitledOf(l *localapi.TargetList, value func(*localapi.Target, localapi.Address) string) entitled {
	e := entitled{SchemaVersion: localapi.SchemaVersion, Stale: l.Stale, VNETs: []entitledVNET{}}
	type place struct{ vnet, value string }
	found := map[place][]uint16{}
	names := map[string]string{}
	for i := range l.Targets {
		t := &l.Targets[i]
		for _, ad := range t.Addresses {
			p := place{ad.VNETID, value(t, ad)}
			names[ad.VNETID] = ad.VNETName
			if !slices.Contains(found[p], t.Port) {
				found[p] = append(found[p], t.Port)
			}
		}
	}
	by := map[string][]entitledEntry{}
	for p, ports := range found {
		slices.Sort(ports)
		by[p.vnet] = append(by[p.vnet], entitledEntry{p.value, ports})
	}
	for id, entries := range by {
		slices.SortFunc(entries, func(x, y entitledEntry) int { return strings.Compare(x.Value, y.Value) })
		e.VNETs = append(e.VNETs, entitledVNET{id, names[id], entries})
	}
	slices.SortFunc(e.VNETs, func(x, y entitledVNET) int { return strings.Compare(x.VNETName+x.VNETID, y.VNETName+y.VNETID) })
	return e
}
