package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// connectOptions are the flags of target connect.
type connectOptions struct {
	vnet, user, unixPath, template string
	localPort                      string
	exec, print                    bool
	timeout, idle                  time.Duration
}

func newTargetConnect(a *app) *cobra.Command {
	var o connectOptions
	cmd := &cobra.Command{
		Use:   "connect NAME[:PORT] [-- PROGRAM ARGS...]",
		Short: "Open a local port to a target and run the program for its protocol",
		Long: `Opens a port on 127.0.0.1 (or a Unix socket) that leads to the target, runs the client
program for what the target speaks - psql, mysql, redis-cli, mongosh, kubectl, an RDP or
VNC viewer, a browser, ssh - and closes the port when the program ends. The exit status
is the program's.

A program of your own stands after "--", where {host}, {port}, {addr}, {user}, {target}
and {vnet} are filled in; {{ and }} are braces. Programs for a protocol, or under a name
for --with, can be set in $XDG_CONFIG_HOME/weft/connect.json:

  {"schema_version": 1, "templates": {"POSTGRES": ["pgcli", "-h", "{host}", "-p", "{port}"]}}

Without a program (--print, or for a protocol that has none): prints the address and
serves until interrupted. On Linux only connections of your own account are served.`,
		Example: `  warp-cli target connect db-1.prod --user app
  warp-cli target connect redis-1 -- redis-cli -h {host} -p {port} --bigkeys
  warp-cli --json target connect db-1 --print`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeConnect,
		RunE: func(cmd *cobra.Command, args []string) error {
			program := []string(nil)
			if at := cmd.ArgsLenAtDash(); at >= 0 {
				args, program = args[:at], args[at:]
				if len(program) == 0 {
					return usageError("-- is not followed by a program")
				}
			}
			if len(args) != 1 {
				return usageErrorHint("see: warp-cli target connect --help", "target connect needs one target; a program stands after --")
			}
			return a.targetConnect(cmd.Context(), args[0], program, &o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.user, "user", "", "the `user` to log in as, where the program takes one")
	f.StringVar(&o.localPort, "local-port", "", "listen on this `port` of 127.0.0.1 (default: a free one)")
	f.StringVar(&o.unixPath, "unix", "", "listen on a Unix socket with mode 0600 at `path` instead")
	f.StringVar(&o.template, "with", "", "use the program of this `name`: a protocol, or one of your connect.json")
	f.BoolVar(&o.exec, "exec", false, "run a program in any case: fail when there is none for the protocol")
	f.BoolVar(&o.print, "print", false, "run nothing: print the address and serve until interrupted")
	f.DurationVar(&o.timeout, "timeout", 0, "without a program: end after this `time` in any case (default: never)")
	f.DurationVar(&o.idle, "idle", 0, "without a program: end after this `time` without a connection (default: never)")
	a.vnetFlag(cmd, &o.vnet)
	a.completeFlag(cmd, "user", a.fromTargets(addUsernames))
	return cmd
}

func (o *connectOptions) check(program []string) error {
	switch {
	case o.print && (o.exec || len(program) > 0 || o.template != ""):
		return usageError("--print runs nothing; leave it, or the program, away")
	case len(program) > 0 && o.template != "":
		return usageError("give one of --with and a program")
	case o.unixPath != "" && o.localPort != "":
		return usageError("give one of --unix and --local-port")
	case o.timeout < 0 || o.idle < 0:
		return usageError("--timeout and --idle must not be negative")
	case o.user != "":
		if strings.HasPrefix(o.user, "-") {
			return usageError("--user %q begins with a dash, which a program would take for an option", o.user)
		}
		return checkWord("--user", o.user)
	}
	return nil
}

// connection is a target with what is needed to reach it.
type connection struct {
	dial     localapi.Dial
	protocol string
	target   string
	vnet     string
	user     string
	identity hostIdentity // for SSH
}

func (a *app) targetConnect(ctx context.Context, target string, program []string, o *connectOptions) error {
	if err := o.check(program); err != nil {
		return err
	}
	to, err := a.connectTo(ctx, target, o)
	if err != nil {
		return err
	}
	tmpl, err := a.connectTemplate(to, program, o)
	if err != nil {
		return err
	}
	if tmpl != nil {
		var stop func()
		ctx, stop = a.childContext(ctx, tmpl)
		defer stop()
	}
	door, err := openDoor(ctx, a, to, o)
	if err != nil {
		return err
	}
	defer door.close()
	if tmpl == nil {
		return a.serveDoor(ctx, door, to, o)
	}
	return a.runThrough(ctx, door, to, tmpl)
}

// connectTo resolves a target, and finds the port and what is spoken there.
func (a *app) connectTo(ctx context.Context, target string, o *connectOptions) (*connection, error) {
	name, port, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	vnet := a.vnetOr(o.vnet)
	if vnet != "" {
		if err := checkWord("virtual network", vnet); err != nil {
			return nil, err
		}
	}
	c := a.client()
	r, err := c.Resolve(ctx, name, vnet, port)
	if err != nil {
		return nil, err
	}
	entries, err := a.entriesOf(ctx, c, r)
	if err != nil {
		return nil, err
	}
	e, err := pickEntry(entries, name, port, o.template)
	if err != nil {
		return nil, err
	}
	to := &connection{protocol: e.Protocol, target: r.Hostname, vnet: r.VNETName, user: o.user}
	if to.target == "" {
		to.target = name
	}
	to.identity = hostIdentity{alias: targetAlias(r, e.Port)}
	if e.Protocol == "SSH" { // elsewhere at this target it is the target's own key
		to.identity = a.hostIdentity(ctx, c, r, e.Port)
	}
	// The very address that was resolved: a change of the selected network must not lead a later connection elsewhere.
	to.dial = localapi.Dial{Name: r.IP, Port: e.Port, VNET: r.VNETID}
	if to.user == "" && len(e.Usernames) == 1 {
		to.user = e.Usernames[0]
	}
	return to, nil
}

// entriesOf returns the lines of the target list that a resolution is about.
func (a *app) entriesOf(ctx context.Context, c *client.Client, r *localapi.Resolution) ([]localapi.Target, error) {
	if r.TargetID == "" {
		return nil, nil
	}
	l, err := c.Targets(ctx, client.Query{IDs: []string{r.TargetID}})
	if err != nil {
		return nil, err
	}
	return l.Targets, nil
}

// pickEntry chooses the line of the list by port, and where several fit, by the protocol that --with names.
func pickEntry(entries []localapi.Target, name string, port uint16, with string) (localapi.Target, error) {
	var fit []localapi.Target
	for i := range entries {
		if port == 0 || entries[i].Port == port {
			fit = append(fit, entries[i])
		}
	}
	if with != "" {
		if only := slices.DeleteFunc(slices.Clone(fit), func(t localapi.Target) bool { return !strings.EqualFold(t.Protocol, with) }); len(only) > 0 {
			fit = only
		}
	}
	if port == 0 && len(fit) > 1 || port == 0 && len(entries) == 0 {
		var have []string
		for i := range fit {
			have = append(have, fmt.Sprintf("%d (%s)", fit[i].Port, fit[i].Protocol))
		}
		if len(have) == 0 {
			return localapi.Target{}, usageErrorHint("write NAME:PORT", "no port of %q is known", name)
		}
		return localapi.Target{}, usageErrorHint("write one of them as NAME:PORT", "%q has several ports: %s", name, strings.Join(have, ", "))
	}
	for i := range fit {
		if fit[i].Protocol != "UDP" {
			return fit[i], nil
		}
	}
	if len(fit) > 0 {
		return localapi.Target{}, usageErrorHint("warp-cli forward add PORT "+name+":"+strconv.Itoa(int(fit[0].Port)),
			"%q speaks UDP there, which target connect does not carry; a forward does", name)
	}
	// A port that the list does not know: policy has the last word at the gateway.
	return localapi.Target{Protocol: "TCP", Port: port}, nil
}

// connectAnswer is the JSON of a door without a program: one line, before anything is served.
type connectAnswer struct {
	SchemaVersion int    `json:"schema_version"`
	Address       string `json:"address"` // HOST:PORT or a path
	Host          string `json:"host"`    // empty for a socket
	Port          uint16 `json:"port"`    // 0 for a socket
	Socket        string `json:"socket"`  // empty for a port
	Target        string `json:"target"`
	TargetPort    uint16 `json:"target_port"`
	VNET          string `json:"vnet"`
	Protocol      string `json:"protocol"`
	User          string `json:"user"`
}

// serveDoor says where the door is and waits.
func (a *app) serveDoor(ctx context.Context, d *door, to *connection, o *connectOptions) error {
	ans := connectAnswer{
		SchemaVersion: localapi.SchemaVersion, Address: d.addr(), Host: d.host, Port: d.port, Socket: d.path,
		Target: to.target, TargetPort: to.dial.Port, VNET: to.vnet, Protocol: to.protocol, User: to.user,
	}
	err := a.print(ans, func(w io.Writer, st render.Style) error {
		_, err := fmt.Fprintf(w, "%s\n", st.Clean(ans.Address))
		return err
	})
	if err != nil {
		return err
	}
	if !a.json {
		a.note("leads to %s port %d (%s) until interrupted", render.Clean(to.target), to.dial.Port, render.Clean(to.vnet))
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	switch err := d.wait(ctx, o.idle); {
	case err == nil, o.timeout > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil // the end that was asked for
	default:
		return err
	}
}

func (a *app) completeConnect(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.fromTargets(func(t *localapi.Target, add func(string)) {
		for _, n := range names(t) {
			add(n)
			add(n + ":" + strconv.Itoa(int(t.Port)) + "\t" + t.Protocol)
		}
	})(cmd, nil, toComplete)
}

// joinHostPort is net.JoinHostPort for a port that is a number.
func joinHostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
