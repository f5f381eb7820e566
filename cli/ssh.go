package cli

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
)

func newSSH(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ssh [--vnet VNET] [SSH-OPTIONS] [USER@]TARGET [SSH-OPTIONS] [[--] COMMAND...]",
		Short: "Log in to a target with the OpenSSH client",
		Long: `Runs the OpenSSH client of this system with "warp-cli nc" as its ProxyCommand. All of
ssh's own options may be given and its configuration files apply, except what would
take another way to the target (-J, ProxyJump, ProxyCommand).

TARGET is a hostname, HOSTNAME.VNET, a target ID or an IP address. The virtual network
is --vnet, else WARP_VNET, else the selected one. Where the gateway speaks SSH, its host
certificate says who it is and nothing is asked. Elsewhere host keys are remembered per
target and port, not per name or address, since both may repeat in another network; for
the same reason a ControlPath counts only when it is given here.

Forwarding (-L, -D, -W, -R, -A, -X, -Y) works where the policy of the login allows it:
what is refused is said, and "warp-cli explain TARGET:22 --as USER" tells what is allowed.
To reach a target's port that is published itself no ssh is needed: warp-cli nc.

warp-cli's own options stand before the word ssh, --vnet also right after it.`,
		Example: `  warp-cli ssh alice@web-1
  warp-cli ssh -L 8080:localhost:80 alice@web-1.a1net -- uptime`,
		DisableFlagParsing: true,
		ValidArgsFunction:  a.completeSSH,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
				if len(args) > 0 {
					return cmd.Help()
				}
				return usageErrorHint("see: warp-cli ssh --help", "ssh needs a target: warp-cli ssh [USER@]TARGET")
			}
			line, err := parseSSH(args)
			if err != nil {
				return err
			}
			return a.ssh(cmd.Context(), line)
		},
	}
}

// ssh resolves the target and hands over to the OpenSSH client.
func (a *app) ssh(ctx context.Context, line sshLine) error {
	vnet := a.vnetOr(line.vnet)
	if vnet != "" {
		if err := checkWord("virtual network", vnet); err != nil {
			return err
		}
	}
	path, err := a.findSSH()
	if err != nil {
		return err
	}
	c := a.client()
	r, err := c.Resolve(ctx, line.host, vnet, line.port)
	if err != nil {
		return err
	}
	self, err := a.self()
	if err != nil {
		return err
	}
	proxy, err := proxyCommand(runtime.GOOS, self, c.Socket(), r, a.sessionWords()...)
	if err != nil {
		return err
	}
	return runSSH(ctx, path, line.argv(proxy, a.hostIdentity(ctx, c, r, line.port)), a.cfg)
}

func (a *app) findSSH() (string, error) {
	path, err := exec.LookPath("ssh")
	if err != nil {
		return "", &client.Error{Code: codeNoSSH, Message: "no OpenSSH client (ssh) is installed on this system", Err: err}
	}
	return path, nil
}

// self returns the path by which ssh is to call this program back.
func (a *app) self() (string, error) {
	if a.cfg.Self != "" {
		return a.cfg.Self, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the path of warp-cli: %w", err)
	}
	return path, nil
}

// targetAlias names the target in known_hosts. The address may be another
// machine's in another virtual network, the hostname may belong to several
// targets, and two ports of one target may be two servers.
func targetAlias(r *localapi.Resolution, port uint16) string {
	id := r.TargetID
	if id == "" {
		// An address that is no target's: what tells it apart is the network that it is in.
		id = strings.NewReplacer(":", "-", "%", "-").Replace(r.IP) + "." + r.VNETID
	}
	return "weft-" + id + "-" + strconv.Itoa(int(port))
}

// proxyCommand writes the ProxyCommand for a shell of the given system. It names
// the very address that was resolved, so that the connection and the alias of
// the host key cannot part; the port is left to ssh, whose configuration may set it.
// session are the words that name the profile, if one was named.
func proxyCommand(goos, self, socket string, r *localapi.Resolution, session ...string) (string, error) {
	if _, err := netip.ParseAddr(r.IP); err != nil {
		return "", fmt.Errorf("the agent resolved the target to %q, which is no address", r.IP)
	}
	words := append(append([]string{self, "--socket", socket}, session...), "nc")
	if r.VNETID != "" {
		words = append(words, "--vnet", r.VNETID)
	}
	quoted := make([]string, 0, len(words)+2)
	for _, w := range append(words, r.IP) {
		q, err := quoteFor(goos, w)
		if err != nil {
			return "", err
		}
		// ssh expands per cent signs before the shell sees the command.
		quoted = append(quoted, strings.ReplaceAll(q, "%", "%%"))
	}
	return strings.Join(append(quoted, "%p"), " "), nil
}

// plainChars mean themselves to every shell.
const plainChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,@="

// quoteFor writes s as one word for the shell that ssh starts a ProxyCommand with.
func quoteFor(goos, s string) (string, error) {
	if strings.ContainsAny(s, "\n\r\x00") {
		return "", usageError("the path %q holds a line break; ssh cannot be told of it", s)
	}
	switch {
	case strings.Trim(s, plainChars) == "" && s != "":
		return s, nil
	case goos == "windows":
		if strings.ContainsAny(s, `"%!^`) {
			return "", usageError("the path %q holds a character that cannot be given to ssh on Windows", s)
		}
		return `"` + s + `"`, nil
	default:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", nil
	}
}
