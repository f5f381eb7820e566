package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// envShells are the shells whose syntax proxy env writes.
var envShells = []string{"sh", "fish", "powershell"}

func newProxyEnv(a *app) *cobra.Command {
	var vnet, shell string
	var unset bool
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the lines that send a shell's programs through the proxy",
		Long: `Prints lines for a shell that set ALL_PROXY and its like to the agent's SOCKS5 and HTTP
proxy. With a virtual network (--vnet or WARP_VNET) every connection of these programs
is made in it, whatever is selected.

The proxy reaches targets and nothing else: set it for a command or a shell that is for
targets, not for the whole session.`,
		Example: `  eval "$(warp-cli proxy env --vnet staging)"
  eval "$(warp-cli proxy env --unset)"`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(envShells, shell) {
				return usageErrorHint("one of: "+strings.Join(envShells, ", "), "no lines for shell %q", shell)
			}
			if unset {
				return a.proxyUnset(shell)
			}
			return a.proxyEnv(cmd.Context(), a.vnetOr(vnet), shell)
		},
	}
	cmd.Flags().StringVar(&shell, "shell", "sh", "write for this `shell`: "+strings.Join(envShells, ", "))
	cmd.Flags().BoolVar(&unset, "unset", false, "print the lines that undo it")
	a.completeFlag(cmd, "shell", only(envShells))
	a.vnetFlag(cmd, &vnet)
	return cmd
}

// proxySettings are the addresses of the proxy.
type proxySettings struct {
	SchemaVersion int    `json:"schema_version"`
	Address       string `json:"address"`
	VNET          string `json:"vnet"` // empty: the selected one
	SOCKS         string `json:"socks_url"`
	HTTP          string `json:"http_url"`
}

// proxySettings asks the agent where its proxy is, and whether there is such a network.
func (a *app) proxySettings(ctx context.Context, vnet string) (*proxySettings, error) {
	c := a.client()
	st, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	if st.ProxyAddress == "" {
		return nil, &client.Error{Code: codeNoProxy, Message: "the agent serves no proxy", Hint: "start it with: warp-svc run --proxy-listen 127.0.0.1:40000"}
	}
	p := &proxySettings{SchemaVersion: localapi.SchemaVersion, Address: st.ProxyAddress, VNET: vnet}
	socks, http := url.URL{Scheme: "socks5h", Host: st.ProxyAddress}, url.URL{Scheme: "http", Host: st.ProxyAddress}
	if vnet != "" {
		if err := checkWord("virtual network", vnet); err != nil {
			return nil, err
		}
		l, err := c.VNETs(ctx)
		if err != nil {
			return nil, err
		}
		known := slices.ContainsFunc(l.VNETs, func(v localapi.VNET) bool { return v.ID == vnet || strings.EqualFold(v.Name, vnet) })
		if !known {
			return nil, &client.Error{Code: localapi.CodeUnknownVNET, Message: fmt.Sprintf("no virtual network is called %q", vnet)}
		}
		socks.User, http.User = url.UserPassword(vnet, ""), url.UserPassword(vnet, "")
	}
	p.SOCKS, p.HTTP = socks.String(), http.String()
	return p, nil
}

// proxyVariables are the names that programs know, with the kind of proxy each is for. Some programs know only
// lower case, and curl takes http_proxy in no other.
var proxyVariables = []struct {
	name string
	http bool
}{{"ALL_PROXY", false}, {"all_proxy", false}, {"HTTPS_PROXY", true}, {"https_proxy", true}, {"http_proxy", false}}

func (a *app) proxyEnv(ctx context.Context, vnet, shell string) error {
	p, err := a.proxySettings(ctx, vnet)
	if err != nil {
		return err
	}
	return a.print(p, func(w io.Writer, _ render.Style) error {
		for _, v := range proxyVariables {
			value := p.SOCKS
			if v.http {
				value = p.HTTP
			}
			if _, err := io.WriteString(w, assign(shell, v.name, value)); err != nil {
				return err
			}
		}
		return nil
	})
}

// assign writes one assignment; value is a URL, in which no quote stands unescaped.
func assign(shell, name, value string) string {
	value = strings.ReplaceAll(value, "'", "%27")
	switch shell {
	case "fish":
		return "set -gx " + name + " '" + value + "'\n"
	case "powershell":
		return "$env:" + name + " = '" + value + "'\n"
	default:
		return "export " + name + "='" + value + "'\n"
	}
}

func (a *app) proxyUnset(shell string) error {
	for _, v := range proxyVariables {
		line := "unset " + v.name
		switch shell {
		case "fish":
			line = "set -e " + v.name
		case "powershell":
			line = "Remove-Item -ErrorAction SilentlyContinue Env:" + v.name
		}
		if _, err := io.WriteString(a.cfg.Stdout, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func newProxyPAC(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "pac",
		Short: "Print a proxy auto-configuration file for browsers",
		Long: `Prints a proxy auto-configuration file: a browser that uses it asks the agent for
HOSTNAME.VNET and goes its usual way for all else. It holds the names of the virtual
networks and of no target. Print it again when a network comes or goes.`,
		Example: `  warp-cli proxy pac > ~/weft.pac`,
		Args:    args(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.proxyPAC(cmd.Context()) },
	}
}

// pacFile is the JSON answer.
type pacFile struct {
	SchemaVersion int    `json:"schema_version"`
	Text          string `json:"text"`
}

func (a *app) proxyPAC(ctx context.Context) error {
	p, err := a.proxySettings(ctx, "")
	if err != nil {
		return err
	}
	l, err := a.client().VNETs(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, v := range l.VNETs {
		names = append(names, v.Name)
	}
	text := pac(p.Address, names)
	if a.json {
		return a.printJSON(a.cfg.Stdout, pacFile{SchemaVersion: localapi.SchemaVersion, Text: text})
	}
	_, err = io.WriteString(a.cfg.Stdout, text)
	return err
}

// pac writes the file. Only plain names of networks can be a browser's; that also keeps the script what it is.
func pac(addr string, vnets []string) string {
	var b strings.Builder
	b.WriteString("function FindProxyForURL(url, host) {\n  host = host.toLowerCase();\n")
	for _, v := range plainVNETs(vnets) {
		if neverTaken("x." + v) {
			continue
		}
		fmt.Fprintf(&b, "  if (dnsDomainIs(host, %q)) return \"SOCKS5 %s; SOCKS %s\";\n", "."+strings.ToLower(v), addr, addr)
	}
	b.WriteString("  return \"DIRECT\";\n}\n")
	return b.String()
}
