package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/cli/render"
)

// maxManaged bounds the administrator's file; the agent has the same bound.
const maxManaged = 64 << 10

func newMDM(a *app) *cobra.Command {
	get := leaf(help{
		"get-configs", "Show what your administrator manages",
		`Shows the administrator's settings file that is in force, or where one is looked for. What it
sets wins over what you set, and is locked. Secrets in it are not shown.`,
		`  warp-cli mdm get-configs
  warp-cli mdm get-configs --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		c, err := a.client().ManagedConfig(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(c, func(w io.Writer, _ render.Style) error { return render.Managed(w, c) })
	})
	refresh := leaf(help{
		"refresh", "Have the agent read the managed settings again",
		`Has the agent read the administrator's settings file again. A file that cannot be read or
understood changes nothing: what was in force stays so.`,
		`  warp-cli mdm refresh`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		c, err := a.client().RefreshManaged(cmd.Context())
		if err != nil {
			return err
		}
		return a.managedDone(c)
	})
	set := leaf(help{
		"set-config FILE", "Replace the managed settings (for administrators)",
		`Replaces the administrator's settings file, JSON or a plist <dict>; "-" reads it from stdin.
The keys: organization, display_name, support_url, service_mode (proxy or tunnelonly),
proxy_port, auto_connect (minutes), switch_locked, warp_tunnel_protocol (wireguard),
override_warp_endpoint (HOST:PORT), enrolment_file (path of a file that holds an enrolment
string and that only root may read). An unknown key is an error. For example:

  {"organization": "company", "proxy_port": 41000, "enrolment_file": "/etc/weft/enrolment"}`,
		`  warp-cli mdm set-config mdm.json
  sudo warp-cli mdm set-config - < mdm.xml`,
	}, 1, 1, func(cmd *cobra.Command, args []string) error {
		content, err := a.readManaged(args[0])
		if err != nil {
			return err
		}
		c, err := a.client().SetManagedConfig(cmd.Context(), content)
		if err != nil {
			return err
		}
		return a.managedDone(c)
	})
	return noun("mdm", "Show or change what your administrator manages", get, refresh, set)
}

func (a *app) managedDone(c *localapi.ManagedConfig) error {
	return a.print(c, func(w io.Writer, st render.Style) error {
		if c.Path == "" {
			return success(w, st, "Nothing is managed: there is no file at "+st.Clean(strings.Join(c.Searched, " or ")))
		}
		return success(w, st, "In force: "+st.Clean(c.Path)+" ("+render.Count(len(c.Settings), "setting")+")")
	})
}

func (a *app) readManaged(file string) (string, error) {
	in := a.cfg.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", usageError("read managed settings: %s", err)
		}
		defer func() { _ = f.Close() }() // opened for reading
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxManaged+1))
	switch {
	case err != nil:
		return "", usageError("read managed settings: %s", err)
	case len(b) > maxManaged:
		return "", usageError("the managed settings are larger than %d bytes", maxManaged)
	case strings.TrimSpace(string(b)) == "":
		return "", usageError("the managed settings are empty")
	}
	return string(b), nil
}

func newDebug(a *app) *cobra.Command {
	network := leaf(help{
		"network", "Show this machine's network as the agent sees it",
		`Shows the interfaces with their addresses, and the address that the system uses towards the gateway.`,
		`  warp-cli debug network`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		n, err := a.client().Network(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(n, func(w io.Writer, _ render.Style) error { return render.Network(w, n) })
	})
	const hint = "warp-cli debug connectivity-check"
	return noun("debug", "Find out why something does not work",
		newDebugLog(a), newDebugConnectivity(a), network, newDebugRuntime(a),
		instead(a, "alternate-network", hint), instead(a, "access-reauth", "warp-cli registration show"), instead(a, "dex", hint),
		instead(a, "posture", "warp-cli registration show"), instead(a, "qlog", "the tunnel is WireGuard: warp-cli tunnel dump"),
		instead(a, "pcap", "the tunnel is in user space; what it carries: warp-cli flow list"),
		instead(a, "speed-test", "warp-cli tunnel stats"), instead(a, "frequent-connection-stats", "warp-cli tunnel stats"))
}

// logLevels are the levels of the agent's log.
var logLevels = []string{"debug", "info", "warn", "error"}

func newDebugLog(a *app) *cobra.Command {
	var follow bool
	var level string
	cmd := leaf(help{
		"log", "Show the agent's log",
		`Shows the last lines of the agent's log, which it keeps in memory: at most 2,000, without
secrets. With --follow also those that come, until interrupted; with --json each line is
an object.`,
		`  warp-cli debug log
  warp-cli debug log --level warn`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		if level != "" && len(startingWith(logLevels, level)) != 1 {
			return usageErrorHint("one of: "+strings.Join(logLevels, ", "), "--level %q is not a level", level)
		}
		l, err := a.client().Log(cmd.Context(), level, follow)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }() // nothing is written to it
		for {
			line, err := l.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if a.json {
				err = a.printLine(line)
			} else {
				err = render.LogLine(a.cfg.Stdout, a.style(a.cfg.Stdout), line)
			}
			if err != nil {
				return err
			}
		}
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with the lines that come")
	cmd.Flags().StringVar(&level, "level", "", "only lines of this `level` and above: debug, info, warn or error")
	a.completeFlag(cmd, "level", only(logLevels))
	return cmd
}

func newDebugConnectivity(a *app) *cobra.Command {
	return leaf(help{
		"connectivity-check", "Try each way now, and say which fails",
		`Has the agent try registration, control plane, gateway and proxy, each on its own. The exit
code is 0 only when all of them work.`,
		`  warp-cli debug connectivity-check`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		c, err := a.client().Connectivity(cmd.Context())
		if err != nil {
			return err
		}
		if !c.OK && a.json {
			return failedCheck(c)
		}
		err = a.print(c, func(w io.Writer, st render.Style) error { return render.Connectivity(w, st, c) })
		if err == nil && !c.OK {
			err = failedCheck(c)
		}
		return err
	})
}

// failedCheck names the first check that failed.
func failedCheck(c *localapi.Connectivity) error {
	for _, check := range c.Checks {
		if !check.OK {
			return connectivityError(check)
		}
	}
	return connectivityError(localapi.Check{Name: "agent", Detail: "no check was made"})
}

func newDebugRuntime(a *app) *cobra.Command {
	var stacks bool
	cmd := leaf(help{
		"runtime", "Show what the agent's process uses",
		`Shows goroutines, memory and age of the agent's process, for its owner only. With --stacks also
what each goroutine does, which is what a bug report needs.`,
		`  warp-cli debug runtime
  warp-cli debug runtime --stacks`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		r, err := a.client().Runtime(cmd.Context(), stacks)
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer, _ render.Style) error {
			err := render.Lines(w, "PID", fmt.Sprint(r.PID), "Running for", render.Age(r.UptimeSeconds), "Goroutines", fmt.Sprint(r.Goroutines),
				"Heap", render.Bytes(r.HeapBytes), "From the system", render.Bytes(r.SystemBytes), "Collections", fmt.Sprint(r.GCCycles),
				"CPUs", fmt.Sprint(r.CPUs), "Go", r.GoVersion)
			if err == nil && r.Stacks != "" {
				_, err = io.WriteString(w, "\n"+r.Stacks)
			}
			return err
		})
	})
	cmd.Flags().BoolVar(&stacks, "stacks", false, "show what each goroutine does")
	return cmd
}
