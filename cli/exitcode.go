package cli

import (
	"fmt"
	"strings"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/internal/kind"
)

// Codes of failures that arise in the command line itself.
const (
	codeUsage  = "usage"
	codeNoSSH  = "no_ssh_client"
	codeBroken = "stream_broken"
	codeNotUp  = "connect_failed"
	codeFault  = "fault_found"
	// codeNotOffered: a command or value of other clients that means nothing here.
	codeNotOffered = "not_offered"
	codeCheck      = "check_failed"
	// codeSSHConfig: the user's OpenSSH configuration cannot be read or written.
	codeSSHConfig = "ssh_config"
	// codeNoProxy: the agent was started without one.
	codeNoProxy = "no_proxy"
	// codeNoProgram: the program for a target is not installed.
	codeNoProgram = "no_program"
)

// The exit codes. They are kept stable; docs/exit-codes.md is made from exitTable.
const (
	exitOK            = 0
	exitInternal      = 1
	exitUsage         = 2
	exitAgent         = 3
	exitPermission    = 4
	exitNotRegistered = 5
	exitNotConnected  = 6
	exitNotFound      = 7
	exitAmbiguous     = 8
	exitDenied        = 9
	exitRefused       = 10
	exitUnreachable   = 11
	exitTimeout       = 12
	exitConflict      = 13
	exitUnavailable   = 14
	exitLimit         = 15
	exitFault         = 16
	exitNoSSH         = 127
	exitInterrupted   = 130
)

// reason is an error code with what to do about it when nobody who knows better said so.
type reason struct {
	code string
	hint string
}

// exit is one row of the table of exit codes.
type exit struct {
	code    int
	meaning string
	reasons []reason
}

const (
	hintTargets = "see what you may reach: warp-cli target list"
	hintAgain   = "try again; the state of the agent: warp-cli status"
)

// exitTable is the only place that maps an error code to an exit code and to a next step.
var exitTable = []exit{
	{exitOK, "success", nil},
	{exitInternal, "an unexpected failure, which deserves a report", []reason{
		{string(kind.Internal), "the agent's log says more"},
		{client.CodeNotAnAgent, ""},
	}},
	{exitUsage, "the command line or a value in it is wrong; nothing was done", []reason{
		{codeUsage, ""},
		{codeNotOffered, ""},
		{string(kind.Invalid), ""},
		{localapi.CodeEnrolmentInvalid, "copy the enrolment string whole, or ask your administrator for another"},
	}},
	{exitAgent, "the agent is not running", []reason{
		{client.CodeAgentMissing, ""},
		{client.CodeAgentNotRunning, ""},
		{codeNoService, "install it with: warp-cli service install"},
	}},
	{exitPermission, "this operating system user may not use the agent, or not so; or a file cannot be read or written", []reason{
		{client.CodeSocketPermission, ""},
		{codeSSHConfig, ""},
		{localapi.CodePermission, "run it as the user who runs the agent"},
	}},
	{exitNotRegistered, "this device is not registered", []reason{
		{localapi.CodeNotRegistered, "register it with: warp-cli registration new ENROLMENT"},
	}},
	{exitNotConnected, "the agent is not connected", []reason{
		{localapi.CodeNotConnected, "connect with: warp-cli connect"},
		{codeNotUp, hintAgain},
	}},
	{exitNotFound, "no such target, virtual network or profile (for you)", []reason{
		{localapi.CodeUnknownTarget, hintTargets},
		{localapi.CodeUnknownVNET, "see the virtual networks: warp-cli vnet list"},
		{localapi.CodeUnknownProfile, "see your profiles: warp-cli profile list"},
		{string(kind.NotFound), ""},
	}},
	{exitAmbiguous, "the name fits more than one target", []reason{
		{localapi.CodeAmbiguous, "write HOSTNAME.VNET, add --vnet, or use the target ID; see: warp-cli target list"},
	}},
	{exitDenied, "refused by policy, or the enrolment or registration is no longer accepted", []reason{
		{localapi.CodeProhibited, hintTargets},
		{string(kind.Denied), hintTargets},
		{string(kind.Unauthenticated), "register again with: warp-cli registration delete && warp-cli registration new ENROLMENT"},
		{localapi.CodeEnrolmentRefused, "ask your administrator for a fresh enrolment string"},
		{localapi.CodeRevoked, "register again with: warp-cli registration delete && warp-cli registration new ENROLMENT"},
	}},
	{exitRefused, "the target refused the connection", []reason{
		{localapi.CodeRefused, "check that the service runs on that port of the target"},
	}},
	{exitUnreachable, "there is no way to the target", []reason{
		{localapi.CodeUnreachable, "check the target, and that a connector serves its network"},
	}},
	{exitTimeout, "no answer in time from the target, gateway or control plane", []reason{
		{localapi.CodeTimeout, hintAgain},
	}},
	{exitConflict, "it is already so, or another object is in the way", []reason{
		{localapi.CodeAlreadyRegistered, "to start over: warp-cli registration delete"},
		{string(kind.Conflict), ""},
	}},
	{exitUnavailable, "a part that is needed does not answer; trying again may help", []reason{
		{string(kind.Unavailable), hintAgain},
		{client.CodeAgentSilent, ""},
		{client.CodeAgentGone, ""},
		{codeBroken, hintAgain},
		{codeNoManager, "run the agent yourself: warp-svc run"},
		{codeServiceManager, "see what it is doing: warp-cli service status"},
		{codeCheck, "look at: warp-cli status"},
		{codeNoProxy, ""},
	}},
	{exitLimit, "a documented limit was reached", []reason{
		{string(kind.Limit), hintAgain},
	}},
	{exitFault, "`warp-cli explain` or `warp-cli diag` found a fault; the result on stdout, complete, names it", []reason{
		{codeFault, ""},
	}},
	{exitNoSSH, "the client program for the target is not installed", []reason{
		{codeNoProgram, ""},
		{codeNoSSH, "install OpenSSH (Debian: apt install openssh-client; Fedora: dnf install openssh-clients; " +
			"Windows: Add-WindowsCapability -Online -Name OpenSSH.Client)"},
	}},
	{exitInterrupted, "interrupted by the user", []reason{
		{client.CodeCancelled, ""},
	}},
}

// lookupCode returns the exit code and the default hint of an error code; an unknown code is unexpected.
func lookupCode(code string) (exitCode int, hint string) {
	for _, e := range exitTable {
		for _, r := range e.reasons {
			if r.code == code {
				return e.code, r.hint
			}
		}
	}
	return exitInternal, ""
}

// ExitCodesMarkdown returns docs/exit-codes.md.
func ExitCodesMarkdown() string {
	var b strings.Builder
	b.WriteString(`# Exit codes of warp-cli

<!-- Made from the table in cli/exitcode.go; ` + "`go test ./cli -run TestExitCodes -update`" + ` writes it. -->

They are stable: a number keeps its meaning. A command that did not do what it
was asked for never ends with 0. Results go to stdout, everything else to stderr.

With ` + "`--json`" + ` a failure leaves stdout empty and writes one line to stderr (exit code 16 alone: the result is on stdout, and
the line on stderr says what was found):

` + "```json" + `
{"schema_version":1,"code":"not_registered","message":"...","hint":"...","exit_code":5}
` + "```" + `

` + "`warp-cli ssh`" + ` becomes the OpenSSH client as soon as the target is known and then ends with
its status: that of the remote command, or 255.

| Exit code | Meaning | ` + "`code`" + ` in JSON |
|---|---|---|
`)
	for _, e := range exitTable {
		codes := make([]string, len(e.reasons))
		for i, r := range e.reasons {
			codes[i] = "`" + r.code + "`"
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", e.code, e.meaning, strings.Join(codes, ", "))
	}
	return b.String()
}
