package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// matchDeadline bounds what every ssh of this user may wait for the agent, whatever its host.
const matchDeadline = 2 * time.Second

func newSSHConfig(a *app) *cobra.Command {
	var install, uninstall, show bool
	var names sshNames
	cmd := &cobra.Command{
		Use:   "ssh-config [--install | --uninstall | --print]",
		Short: "Let ssh, scp, rsync, git, Ansible and editors reach targets by name",
		Long: `Writes one Include line at the top of ~/.ssh/config and one file, ~/.ssh/weft/config, that
sends the names of your targets through the agent: HOSTNAME.VNET, and HOSTNAME in the
selected virtual network. The file holds no target, so it never grows.

Whether a name is a target's is asked of the agent at each connection. What your own
configuration says of a host (HostName, ProxyCommand, ProxyJump, User ...) stands above
it. Never taken are localhost, *.local and the names of public code hosts. With --suffix
only names that end in it are: --suffix weft for web-1.weft. With --addresses the
addresses of targets in the selected network are taken as well, where the gateway speaks
SSH: a machine of your own network with the same address is not reached then. With --profile
names are those of that profile; otherwise WARP_PROFILE, or the current one, counts at each
connection.

Without a flag: says what is installed. --uninstall leaves the files as they were.`,
		Example: `  warp-cli ssh-config --install
  ssh alice@web-1.staging`,
		Args: args(0, 0, "[--install | --uninstall | --print]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := names.check(); err != nil {
				return err
			}
			switch {
			case install && !uninstall && !show:
				return a.sshConfigInstall(cmd.Context(), names)
			case uninstall && !install && !show:
				return a.sshConfigUninstall()
			case show && !install && !uninstall:
				return a.sshConfigPrint(cmd.Context(), names)
			case !install && !uninstall && !show:
				return a.sshConfigStatus()
			default:
				return usageErrorHint("see: warp-cli ssh-config --help", "give one of --install, --uninstall and --print")
			}
		},
	}
	f := cmd.Flags()
	f.BoolVar(&install, "install", false, "write the Include line and the file")
	f.BoolVar(&uninstall, "uninstall", false, "remove both")
	f.BoolVar(&show, "print", false, "print the file and write nothing")
	f.StringVar(&names.suffix, "suffix", "", "take only names that end in this `word`, such as weft for web-1.weft")
	f.BoolVar(&names.addresses, "addresses", false, "take the addresses of targets too")
	cmd.AddCommand(newSSHConfigMatch(a))
	return cmd
}

// sshNames say what ssh-config takes.
type sshNames struct {
	suffix    string
	addresses bool
}

func (n *sshNames) check() error {
	if n.addresses && n.suffix != "" {
		return usageError("give one of --suffix and --addresses")
	}
	return checkWordIf("--suffix", n.suffix)
}

func checkWordIf(what, s string) error {
	if s == "" {
		return nil
	}
	s = strings.TrimPrefix(s, ".")
	if !isSSHName(s) {
		return usageError("%s %q may hold letters, digits, '-', '_' and '.' only", what, s)
	}
	return nil
}

// matchOptions are the flags of ssh-config match.
type matchOptions struct {
	sshNames
	terminated bool
}

// newSSHConfigMatch is what the generated file asks at each connection of ssh.
func newSSHConfigMatch(a *app) *cobra.Command {
	var o matchOptions
	cmd := &cobra.Command{
		Use:   "match NAME [PORT]",
		Short: "End with 0 when NAME is a target's (for Match exec in ssh_config)",
		Long: `Ends with 0 when NAME is the name of a target that ssh should reach through the agent,
and with another code otherwise. It says nothing.`,
		Example: `  warp-cli ssh-config match web-1.staging 22 && echo yes`,
		Args:    args(1, 2, "NAME [PORT]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var port uint16
			if len(args) == 2 {
				var err error
				if port, err = parsePort("PORT", args[1]); err != nil {
					return err
				}
			}
			return a.sshConfigMatch(cmd.Context(), args[0], port, o)
		},
	}
	cmd.Flags().StringVar(&o.suffix, "suffix", "", "the `word` that NAME ends in")
	cmd.Flags().BoolVar(&o.addresses, "addresses", false, "NAME may be an address at which the gateway speaks SSH")
	cmd.Flags().BoolVar(&o.terminated, "terminated", false, "only where the gateway itself speaks SSH")
	return cmd
}

// sshPlan is what ssh-config would write.
func (a *app) sshPlan(ctx context.Context, names sshNames) (sshPaths, sshFile, error) {
	if a.session.forUser != "" {
		return sshPaths{}, sshFile{}, usageErrorHint("run it as that user", "what ssh is told is for the account that runs it; --for-user cannot be written there")
	}
	// The socket is written only when it was asked for: the default may change with the session.
	socket := a.socketPath()
	if runtime.GOOS == "windows" {
		if a.socket != "" {
			return sshPaths{}, sshFile{}, usageErrorHint("set WARP_SOCKET in the environment of your account instead",
				"--socket cannot be written into ssh's configuration on Windows")
		}
		socket = ""
	}
	p, f, err := a.sshFile(names, socket)
	if err != nil {
		return p, f, err
	}
	// Without an agent the file is the same but for what the agent knows; the first connection mends that.
	ctx, cancel := context.WithTimeout(ctx, matchDeadline)
	defer cancel()
	if h, err := a.client().SSHHost(ctx, "weft.invalid", 0); err == nil {
		f.vnets, f.authorities = h.VNETs, h.CertAuthorities
	}
	return p, f, nil
}

// sshFile is the generated file but for what the agent knows.
func (a *app) sshFile(names sshNames, socket string) (sshPaths, sshFile, error) {
	p, err := a.sshPaths()
	if err != nil {
		return p, sshFile{}, err
	}
	self, err := a.self()
	if err != nil {
		return p, sshFile{}, err
	}
	if socket != "" {
		if socket, err = filepath.Abs(socket); err != nil {
			return p, sshFile{}, err
		}
	}
	return p, sshFile{
		goos: runtime.GOOS, self: a.callable(self), socket: socket, profile: a.session.profile, suffix: strings.TrimPrefix(names.suffix, "."),
		addresses: names.addresses, known: p.known, caFile: p.authorities,
	}, nil
}

// callable is how ssh is to call this program. The path by which it was called, or is found, may be a link that stays
// where the real path has a version in it. On Windows a path with blanks cannot be written; there the name has to do.
func (a *app) callable(self string) string {
	const name = "warp-cli"
	path := self
	if a.cfg.Self == "" {
		for _, other := range []string{os.Args[0], name} {
			if filepath.IsAbs(other) && sameFile(other, self) {
				path = other
				break
			}
			if found, err := exec.LookPath(other); err == nil && filepath.IsAbs(found) && sameFile(found, self) {
				path = found
				break
			}
		}
	}
	if found, err := exec.LookPath(name); runtime.GOOS == "windows" && strings.Contains(path, " ") && err == nil && sameFile(found, self) {
		return name
	}
	return path
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func (a *app) sshPaths() (sshPaths, error) {
	home := a.cfg.Getenv("HOME")
	if runtime.GOOS == "windows" {
		home = a.cfg.Getenv("USERPROFILE")
	}
	if !filepath.IsAbs(home) {
		return sshPaths{}, usageErrorHint("set HOME", "no home directory is known, so there is no ~/.ssh/config")
	}
	// ssh takes "~" from the account and not from HOME; where they differ, paths are written out.
	own := true
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		own = filepath.Clean(u.HomeDir) == filepath.Clean(home)
	}
	if !own && !writable(home) {
		return sshPaths{}, usageErrorHint("set HOME to the home directory of your account", "ssh cannot be told of the home directory %q", home)
	}
	return newSSHPaths(home, own), nil
}

func (a *app) sshConfigInstall(ctx context.Context, names sshNames) error {
	p, f, err := a.sshPlan(ctx, names)
	if err != nil {
		return err
	}
	text, err := f.render()
	if err != nil {
		return err
	}
	changed, err := p.install(text, authorityLines(f.authorities))
	if err != nil {
		return sshConfigFault(err, p)
	}
	return a.printSSHConfig("install", changed, true, p)
}

func (a *app) sshConfigUninstall() error {
	p, err := a.sshPaths()
	if err != nil {
		return err
	}
	changed, err := p.uninstall()
	if err != nil {
		return sshConfigFault(err, p)
	}
	return a.printSSHConfig("uninstall", changed, false, p)
}

func (a *app) sshConfigPrint(ctx context.Context, names sshNames) error {
	_, f, err := a.sshPlan(ctx, names)
	if err != nil {
		return err
	}
	text, err := f.render()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(a.cfg.Stdout, sshConfigText{SchemaVersion: localapi.SchemaVersion, Text: text})
	}
	_, err = io.WriteString(a.cfg.Stdout, text)
	return err
}

func (a *app) sshConfigStatus() error {
	p, err := a.sshPaths()
	if err != nil {
		return err
	}
	installed, err := p.installed()
	if err != nil {
		return sshConfigFault(err, p)
	}
	return a.printSSHConfig("show", false, installed, p)
}

// sshConfigText is the JSON answer of --print.
type sshConfigText struct {
	SchemaVersion int    `json:"schema_version"`
	Text          string `json:"text"`
}

// sshConfigResult is the JSON answer of the others.
type sshConfigResult struct {
	SchemaVersion int    `json:"schema_version"`
	Action        string `json:"action"` // "install", "uninstall", "show"
	Changed       bool   `json:"changed"`
	Installed     bool   `json:"installed"`
	ConfigPath    string `json:"config_path"`
	Include       string `json:"include"` // the line in it
	GeneratedPath string `json:"generated_path"`
	KnownHosts    string `json:"known_hosts_path"`
}

func (a *app) printSSHConfig(action string, changed, installed bool, p sshPaths) error {
	r := sshConfigResult{
		SchemaVersion: localapi.SchemaVersion, Action: action, Changed: changed, Installed: installed,
		ConfigPath: p.config, Include: p.include, GeneratedPath: p.generated, KnownHosts: p.known,
	}
	return a.print(r, func(w io.Writer, st render.Style) error {
		switch {
		case installed && changed:
			return success(w, st, "OpenSSH reaches your targets by name: ssh HOSTNAME.VNET (one line in "+st.Clean(p.config)+")")
		case installed:
			return success(w, st, "OpenSSH reaches your targets by name: installed, nothing to change")
		case changed:
			return success(w, st, "Removed from "+st.Clean(p.config))
		default:
			_, err := io.WriteString(w, "Not installed; install with: warp-cli ssh-config --install\n")
			return err
		}
	})
}

// sshConfigFault makes what the file system says an error with a next step.
func sshConfigFault(err error, p sshPaths) error {
	hint := "look at " + p.dir + ", or print the file and place it yourself: warp-cli ssh-config --print"
	if errors.Is(err, errReadOnly) {
		hint = "have whatever writes it add this as its first line, then run this again: " + p.include
	}
	return &client.Error{Code: codeSSHConfig, Message: err.Error(), Hint: hint, Err: err}
}

// errNoMatch ends `ssh-config match` without a word.
const errNoMatch = exitStatus(exitNotFound)

// sshConfigMatch answers for ssh. A silent failure is right for every name that is not ours: ssh then goes its usual way.
func (a *app) sshConfigMatch(ctx context.Context, name string, port uint16, o matchOptions) error {
	bare, ok := cutNameSuffix(name, o.suffix)
	address := o.addresses && isReachAddress(name)
	if !ok || neverTaken(bare) && !address {
		return errNoMatch
	}
	p, f, err := a.sshFile(o.sshNames, a.socket)
	if err != nil {
		return errNoMatch
	}
	ctx, cancel := context.WithTimeout(ctx, matchDeadline)
	defer cancel()
	h, err := a.client().SSHHost(ctx, bare, port)
	if err != nil {
		// Nobody can say. A name in a network that the agent has told of is taken all the same: then ssh
		// shows why it cannot be reached, and does not look for it elsewhere.
		if !o.terminated && (o.suffix != "" || inVNET(bare, p.knownVNETs())) {
			return nil
		}
		return errNoMatch
	}
	a.refresh(&p, f, h)
	// An address without a certificate at the other end would be known by itself, which is another machine's in the next network.
	if !h.Known || (o.terminated || address) && !h.Terminated || address && len(h.CertAuthorities) == 0 {
		return errNoMatch
	}
	return nil
}

// refresh mends the files when there is a new network or another authority since they were written. A failure changes
// nothing for this connection, and the next one tries again.
func (a *app) refresh(p *sshPaths, f sshFile, h *localapi.SSHHost) {
	f.vnets, f.authorities = h.VNETs, h.CertAuthorities
	if text, err := f.render(); err == nil {
		_ = p.refresh(text, authorityLines(h.CertAuthorities))
	}
}
