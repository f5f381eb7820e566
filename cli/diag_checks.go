package cli

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
)

// proxyPort is where the agent's proxy listens unless told otherwise.
const proxyPort = "127.0.0.1:40000"

// diagEnv is what the checks of this program see of the system.
type diagEnv struct {
	os, arch string
	version  string
	socket   string
	getenv   func(string) string
	lookPath func(string) (string, error)
	readFile func(string) ([]byte, error)
	home     func() (string, error)
	dial     func(ctx context.Context, address string) error
}

func (a *app) diagEnv() diagEnv {
	return diagEnv{
		os: runtime.GOOS, arch: runtime.GOARCH, version: a.cfg.Version, socket: a.client().Socket(), getenv: a.cfg.Getenv,
		lookPath: exec.LookPath, readFile: os.ReadFile, home: os.UserHomeDir,
		dial: func(ctx context.Context, address string) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil {
				return err
			}
			return c.Close()
		},
	}
}

// ownCheck is a check that needs no agent.
type ownCheck struct {
	code, title, severity, remedy string
	run                           func(*diagEnv, context.Context, *localapi.Version, error) (state, evidence string)
}

// ownChecks are the checks of this program, in the order of cause and effect.
func ownChecks() []ownCheck {
	return []ownCheck{
		{
			"socket_permission", "You may use the agent", localapi.SeverityError,
			"run this as the user who runs the agent, or start your own with another --socket", (*diagEnv).checkPermission,
		},
		{
			"proxy_port_taken", "The proxy's port is free for the agent", localapi.SeverityError,
			"end the program that uses the port, or start the agent with --proxy-listen 127.0.0.1:PORT", (*diagEnv).checkPort,
		},
		{
			"agent_not_running", "The agent runs", localapi.SeverityError,
			"start it: warp-svc run, or warp-cli service start where it is installed; or name its socket with --socket", (*diagEnv).checkRunning,
		},
		{
			"version_mismatch", "Agent and command line are of one version", localapi.SeverityWarning,
			"restart the agent after an upgrade", (*diagEnv).checkVersion,
		},
		{
			"ssh_client", "There is an OpenSSH client", localapi.SeverityWarning,
			"install OpenSSH; warp-cli ssh and many programs need it", (*diagEnv).checkSSH,
		},
		{
			"ssh_config", "ssh knows of the agent", localapi.SeverityInfo,
			"run: warp-cli ssh-config --install; without it, use warp-cli ssh", (*diagEnv).checkSSHConfig,
		},
		{
			"shell_proxy", "The proxy settings of this shell can be understood", localapi.SeverityWarning,
			"correct the variables that the evidence names", (*diagEnv).checkShellProxy,
		},
	}
}

// DiagRemedies are the remedies of the checks that need no agent, by code, for docs/troubleshooting.md.
func DiagRemedies() map[string]string {
	m := map[string]string{}
	for _, c := range ownChecks() {
		m[c.code] = c.remedy
	}
	return m
}

func isOwnCheck(code string) bool {
	return slices.ContainsFunc(ownChecks(), func(c ownCheck) bool { return c.code == code })
}

// run runs the checks with the codes, nil meaning all.
func (e *diagEnv) run(ctx context.Context, v *localapi.Version, reached error, codes []string) []localapi.DiagCheck {
	out := []localapi.DiagCheck{}
	for _, c := range ownChecks() {
		if codes != nil && !slices.Contains(codes, c.code) {
			continue
		}
		begin := time.Now()
		r := localapi.DiagCheck{Code: c.code, Title: c.title, Severity: c.severity}
		if r.State, r.Evidence = c.run(e, ctx, v, reached); r.State == localapi.CheckFailed {
			r.Remedy = c.remedy
		}
		r.TookMS = float64(time.Since(begin).Microseconds()) / 1000
		out = append(out, r)
	}
	return out
}

// denied reports whether the agent is there and this user may not use it.
func denied(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && (e.Code == client.CodeSocketPermission || e.Code == localapi.CodePermission)
}

func (e *diagEnv) checkPermission(_ context.Context, _ *localapi.Version, reached error) (string, string) {
	if denied(reached) {
		return checkError("%s", reached.Error())
	}
	if reached != nil {
		return localapi.CheckSkipped, "no agent answers"
	}
	return checkOK("%s", e.socket)
}

func (e *diagEnv) checkPort(ctx context.Context, _ *localapi.Version, reached error) (string, string) {
	if reached == nil || denied(reached) {
		return localapi.CheckSkipped, "the agent runs"
	}
	if e.dial(ctx, proxyPort) == nil {
		return checkError("the agent does not answer, and another program listens at %s, without which the agent does not start", proxyPort)
	}
	return checkOK("nobody listens at %s", proxyPort)
}

func (e *diagEnv) checkRunning(_ context.Context, v *localapi.Version, reached error) (string, string) {
	switch {
	case denied(reached):
		return localapi.CheckSkipped, "it is not for this user to say"
	case reached != nil:
		return checkError("%s", reached.Error())
	default:
		return checkOK("warp-svc %s answers at %s", v.Version, e.socket)
	}
}

func (e *diagEnv) checkVersion(_ context.Context, v *localapi.Version, reached error) (string, string) {
	switch {
	case reached != nil || v == nil:
		return localapi.CheckSkipped, "no agent answers"
	case v.Version != e.version:
		return checkError("warp-svc is %s, warp-cli is %s", v.Version, e.version)
	default:
		return checkOK("%s", v.Version)
	}
}

func (e *diagEnv) checkSSH(context.Context, *localapi.Version, error) (string, string) {
	path, err := e.lookPath("ssh")
	if err != nil {
		return checkError("ssh is not found in PATH")
	}
	return checkOK("%s", path)
}

// checkSSHConfig looks for a ProxyCommand of ours, or for the file that holds one.
func (e *diagEnv) checkSSHConfig(context.Context, *localapi.Version, error) (string, string) {
	home, err := e.home()
	if err != nil {
		return localapi.CheckUnknown, "this user has no home directory"
	}
	text, err := e.readFile(filepath.Join(home, ".ssh", "config"))
	if err != nil {
		return checkError("there is no readable .ssh/config")
	}
	for line := range strings.Lines(string(text)) {
		word := strings.Fields(strings.ToLower(line))
		if len(word) > 1 && (word[0] == "include" && strings.Contains(line, "weft") || word[0] == "proxycommand" && strings.Contains(line, "warp-cli")) {
			return checkOK(".ssh/config leads to warp-cli")
		}
	}
	return checkError(".ssh/config does not lead to warp-cli")
}

func (e *diagEnv) checkShellProxy(context.Context, *localapi.Version, error) (string, string) {
	var set, bad []string
	for _, name := range []string{"ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"} {
		value := e.getenv(name)
		if value == "" {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" {
			bad = append(bad, name)
			continue
		}
		set = append(set, name+" is "+u.Redacted())
	}
	switch {
	case len(bad) > 0:
		return checkError("not URLs: %s", strings.Join(bad, ", "))
	case len(set) > 0:
		return checkOK("%s", strings.Join(set, "; "))
	default:
		return checkOK("none are set")
	}
}
