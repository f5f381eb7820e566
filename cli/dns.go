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

// dnsNote stands under every answer: people look here for what other clients do to DNS.
const dnsNote = "the system's DNS is never touched: the proxy, warp-cli nc and ssh resolve these names themselves"

func newDNS(a *app) *cobra.Command {
	var vnet string
	resolve := leaf(help{
		"resolve NAME", "Show where a name leads",
		`Shows the target, address and virtual network that a name leads to: a hostname (the selected
virtual network is preferred), HOSTNAME.VNET, a target ID or an address. This is what the
proxy, warp-cli nc and ssh do; the system's DNS is never asked or changed.`,
		`  warp-cli dns resolve do-target
  warp-cli dns resolve do-target.a1net --json`,
	}, 1, 1, func(cmd *cobra.Command, args []string) error {
		if err := checkWord("NAME", args[0]); err != nil {
			return err
		}
		r, err := a.client().Resolve(cmd.Context(), args[0], a.vnetOr(vnet), 0)
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer, _ render.Style) error {
			return render.Lines(w, "Name", r.Hostname, "Address", r.IP, "Virtual network", r.VNETName, "Target ID", r.TargetID,
				"Ports", ports(r.Ports), "Usernames", strings.Join(r.Usernames, ", "))
		})
	})
	a.vnetFlag(resolve, &vnet)
	resolve.ValidArgsFunction = a.fromTargets(addNames)
	list := leaf(help{
		"list", "List the names that resolve here, and to what",
		`Lists every name that the agent resolves: HOSTNAME.VNET always means one target, a bare
hostname the one in the selected virtual network, else the only one. The system's DNS is
never asked or changed.`,
		`  warp-cli dns list
  warp-cli dns list --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error { return a.dnsList(cmd.Context()) })
	return noun("dns", "Show how names resolve here", resolve, list,
		instead(a, "fallback", dnsNote+"; see: warp-cli dns list"),
		instead(a, "default-fallbacks", dnsNote+"; see: warp-cli dns list"),
		instead(a, "families", dnsNote+"; to see them: warp-cli dns list"),
		instead(a, "gateway-id", dnsNote+"; see: warp-cli dns list"),
		instead(a, "log", dnsNote+"; what was dialled: warp-cli flow list"),
		instead(a, "stats", dnsNote+"; what was dialled: warp-cli flow list"))
}

// nameList is what `dns list` prints.
type nameList struct {
	SchemaVersion int       `json:"schema_version"`
	Stale         bool      `json:"stale"`
	Names         []dnsName `json:"names"`
}

type dnsName struct {
	Name     string `json:"name"`
	IP       string `json:"ip"`
	VNETID   string `json:"vnet_id"`
	VNETName string `json:"vnet_name"`
	TargetID string `json:"target_id"`
}

func (a *app) dnsList(ctx context.Context) error {
	l, err := a.client().Targets(ctx, client.Query{})
	if err != nil {
		return err
	}
	if l.Stale {
		a.note("the control plane is not being heard; this list is %s old", render.Age(l.AgeSeconds))
	}
	n := namesOf(l)
	if !a.json {
		a.note(dnsNote)
	}
	return a.print(n, func(w io.Writer, _ render.Style) error {
		if len(n.Names) == 0 {
			return nil
		}
		rows := make([][]string, len(n.Names))
		for i, d := range n.Names {
			rows[i] = []string{render.Clean(d.Name), render.Clean(d.IP), render.Clean(d.VNETName), render.Clean(d.TargetID)}
		}
		return render.Table(w, []string{"Name", "Address", "Virtual Network", "Target ID"}, rows)
	})
}

func namesOf(l *localapi.TargetList) nameList {
	n := nameList{SchemaVersion: localapi.SchemaVersion, Stale: l.Stale, Names: []dnsName{}}
	seen := map[dnsName]bool{}
	for i := range l.Targets {
		t := &l.Targets[i]
		for _, ad := range t.Addresses {
			d := dnsName{Name: t.Hostname + "." + ad.VNETName, IP: ad.IP, VNETID: ad.VNETID, VNETName: ad.VNETName, TargetID: t.ID}
			if !seen[d] { // a target has a row for each port
				seen[d] = true
				n.Names = append(n.Names, d)
			}
		}
	}
	return n
}
