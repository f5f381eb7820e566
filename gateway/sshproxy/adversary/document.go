package adversary

import (
	"fmt"
	"strings"
)

const documentHead = `# What is tried on the SSH proxy, and what becomes of it

Made from the table of attacks in ` + "`gateway/sshproxy/adversary`" + `, which is run by every ` + "`go test`" + `: each row against a proxy in the test's own process with a small
SSH server behind it, those that reach the target also with a real sshd, and by ` + "`make e2e`" + ` those that need no special company against a real gateway, through agent and tunnel. After each attack somebody else must
be served, and when it is over nothing of it may be left: no session, no goroutine.

Words in capitals are counters of the gateway (` + "`ssh`" + ` in its statistics), words in quotes events of type ` + "`ssh_event`" + ` in the audit log, words with an underscore audit events. Every login, and every
end of a flow with its reason, is on record besides.

Who attacks: somebody with an enrolled device who may open the flow to the target's SSH port, and perhaps log in there as one user; in "target" and "certificate" whoever holds the target or the control plane; in "Terrapin" whoever stands
between the client program and the gateway, which takes the device itself, for the way is inside of WireGuard.

What this does not stop: whoever may run commands on a target may run any program there, also one that connects elsewhere from there. That is for the target's own network to forbid; here it is on record.

See also: [SSH](ssh.md), [certificates and host keys](ssh-certificates.md), [live sessions](sessions.md).
`

// Document is docs/ssh-threats.md.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	area := ""
	for _, k := range Attacks() {
		if k.Area != area {
			area = k.Area
			fmt.Fprintf(&b, "\n## %s%s\n\n| attack | what is done | answer | record |\n|---|---|---|---|\n", strings.ToUpper(area[:1]), area[1:])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(k.Name), cell(k.Does), cell(k.Answer), cell(k.Record))
	}
	return b.String()
}

// cell keeps a text inside of its column.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
