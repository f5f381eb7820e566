package diag

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"strings"
	"time"

	"weft/agent/localapi"
	"weft/targets"
)

const (
	minDisk   = 32 << 20
	minMemory = 64 << 20
	minFiles  = 64               // descriptors that should be free
	recent    = 10 * time.Minute // how long something that happened explains what was seen
	oldList   = time.Minute
)

func checkStateDir(_ context.Context, q *inquiry) Finding {
	if err := q.subject.WriteState(); err != nil {
		return failed("the agent cannot write to %s: %v", q.subject.StateDir, err)
	}
	return ok("the agent can write to it")
}

func checkDisk(_ context.Context, q *inquiry) Finding {
	free, err := q.env.FreeDisk(q.subject.StateDir)
	switch {
	case err != nil:
		return unknown("%v", err)
	case free < minDisk:
		return failed("%d MiB are free where %s is", free>>20, q.subject.StateDir)
	default:
		return ok("%d MiB are free", free>>20)
	}
}

func checkFiles(_ context.Context, q *inquiry) Finding {
	open, limit, err := q.env.Files()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return skipped("this system has no such limit")
	case err != nil:
		return failed("the agent cannot count its open files, of which it may have %d: %v", limit, err)
	case open+minFiles > limit:
		return failed("the agent has %d files and connections open, of %d", open, limit)
	default:
		return ok("%d of %d are open", open, limit)
	}
}

func checkMemory(_ context.Context, q *inquiry) Finding {
	free, err := q.env.FreeMemory()
	switch {
	case err != nil:
		return unknown("%v", err)
	case free < minMemory:
		return failed("%d MiB of memory are free", free>>20)
	default:
		return ok("%d MiB are free", free>>20)
	}
}

func checkRegistered(_ context.Context, q *inquiry) Finding {
	if !q.subject.Registered {
		return failed("this device is not registered")
	}
	return ok("for %s", q.subject.Status.Email)
}

func checkKeyStore(ctx context.Context, q *inquiry) Finding {
	if err := q.subject.ReadKey(ctx); err != nil {
		return failed("%v", err)
	}
	return ok("the device's key can be read (%s)", q.subject.Status.KeyStore)
}

func checkRevoked(_ context.Context, q *inquiry) Finding {
	if q.subject.Status.Reason == localapi.ReasonRevoked {
		return failed("the control plane refuses this device's credential")
	}
	return ok("nothing says that it was revoked")
}

func checkStale(_ context.Context, q *inquiry) Finding {
	s := q.subject.Status
	age := time.Duration(s.StateAgeSeconds * float64(time.Second)).Round(time.Second)
	switch {
	case !q.subject.Known:
		return failed("no state of the control plane is known")
	case s.ControlConnected || age < oldList:
		return ok("revision %d", s.StateRevision)
	case q.subject.StaleAfter > 0 && age > q.subject.StaleAfter:
		return failed("it is %s old; a gateway that has not heard the control plane for so long opens nothing", age)
	default:
		return failed("it is %s old", age)
	}
}

func checkSelected(_ context.Context, q *inquiry) Finding {
	if v := q.subject.Status.VNET; v != nil {
		return ok("%s", v.Name)
	}
	return failed("no virtual network is selected, of %d", len(q.subject.Networks))
}

// notice finds something that happened lately.
func (q *inquiry) notice(code string) (string, bool) {
	for i := len(q.subject.Status.Notices) - 1; i >= 0; i-- {
		n := q.subject.Status.Notices[i]
		if n.Code == code && q.env.Now().Sub(n.Time) < recent {
			return n.Message, true
		}
	}
	return "", false
}

// checkNotice fails while a notice with the code is young.
func checkNotice(code, nothing string) func(context.Context, *inquiry) Finding {
	return func(_ context.Context, q *inquiry) Finding {
		if message, found := q.notice(code); found {
			return failed("%s", message)
		}
		return ok("%s", nothing)
	}
}

func checkNetwork(_ context.Context, q *inquiry) Finding {
	list, err := q.env.Interfaces()
	if err != nil {
		return unknown("%v", err)
	}
	var up []string
	for _, i := range list {
		if i.Up && !i.Loopback && len(i.Prefixes) > 0 {
			up = append(up, i.Name)
		}
	}
	if len(up) == 0 && !strings.Contains(q.subject.ControlURL, "//127.") && !strings.Contains(q.subject.ControlURL, "//localhost") {
		return failed("no network interface is up and has an address")
	}
	return ok("%s", orNone(up))
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none but loopback"
	}
	return strings.Join(list, ", ")
}

func checkIPv6(_ context.Context, q *inquiry) Finding {
	list, err := q.env.Interfaces()
	if err != nil {
		return unknown("%v", err)
	}
	for _, i := range list {
		for _, p := range i.Prefixes {
			if a := p.Addr(); i.Up && a.Is6() && a.IsGlobalUnicast() && !a.IsPrivate() {
				return ok("this machine has IPv6")
			}
		}
	}
	return ok("this machine has no IPv6 of its own; inside the tunnel there is")
}

// addresses are those of the user's targets.
func (q *inquiry) addresses() []netip.Addr {
	seen := make(map[netip.Addr]bool)
	var out []netip.Addr
	for i := range q.subject.Entries {
		for _, a := range []*targets.Address{q.subject.Entries[i].Target.IPv4, q.subject.Entries[i].Target.IPv6} {
			if a != nil && !seen[a.Addr] {
				seen[a.Addr] = true
				out = append(out, a.Addr)
			}
		}
	}
	return out
}

// checkLAN finds targets whose address this machine's own networks have too: a program that does not go through the proxy
// reaches the wrong machine.
func checkLAN(_ context.Context, q *inquiry) Finding {
	list, err := q.env.Interfaces()
	if err != nil {
		return unknown("%v", err)
	}
	var found []string
	for _, i := range list {
		for _, p := range i.Prefixes {
			if !i.Up || i.Loopback || p.IsSingleIP() {
				continue
			}
			for _, a := range q.addresses() {
				if p.Masked().Contains(a) {
					found = append(found, fmt.Sprintf("%s is also in %s of %s", a, p.Masked(), i.Name))
				}
			}
		}
	}
	if len(found) == 0 {
		return ok("no target has an address of a network that this machine is in")
	}
	sort.Strings(found)
	return failed("%s", strings.Join(found[:min(len(found), 5)], "; "))
}

// checkTunnelOverlap finds other interfaces with addresses of this device's tunnel.
func checkTunnelOverlap(_ context.Context, q *inquiry) Finding {
	list, err := q.env.Interfaces()
	if err != nil {
		return unknown("%v", err)
	}
	for _, i := range list {
		for _, p := range i.Prefixes {
			for _, b := range q.subject.Blocks {
				if i.Up && p.IsValid() && b.IsValid() && b.Overlaps(p.Masked()) {
					return failed("interface %s has %s, and this device's tunnel %s", i.Name, p, b)
				}
			}
		}
	}
	return ok("no other interface has addresses of the tunnel")
}

// tunnelNames begin the names of interfaces that belong to tunnels.
var tunnelNames = []string{"wg", "tun", "tap", "utun", "tailscale", "nordlynx", "proton", "mullvad", "ppp", "ipsec", "zt", "nebula", "cloudflarewarp", "warp"}

func checkOtherTunnels(_ context.Context, q *inquiry) Finding {
	list, err := q.env.Interfaces()
	if err != nil {
		return unknown("%v", err)
	}
	var found []string
	for _, i := range list {
		for _, name := range tunnelNames {
			if i.Up && len(i.Prefixes) > 0 && strings.HasPrefix(strings.ToLower(i.Name), name) {
				found = append(found, i.Name)
				break
			}
		}
	}
	if len(found) == 0 {
		return ok("no interface looks like that of another tunnel")
	}
	return failed("up: %s", strings.Join(found, ", "))
}

// checkResolvers finds name servers that have the address of a target or of the tunnel.
func checkResolvers(_ context.Context, q *inquiry) Finding {
	list, err := q.env.Resolvers()
	if err != nil {
		return unknown("%v", err)
	}
	for _, r := range list {
		for _, a := range q.addresses() {
			if a == r {
				return failed("the name server %s has the address of a target", r)
			}
		}
		for _, b := range q.subject.Blocks {
			if b.IsValid() && b.Contains(r) {
				return failed("the name server %s has an address of this device's tunnel", r)
			}
		}
	}
	return ok("%d name servers", len(list))
}

func checkProxyListens(ctx context.Context, q *inquiry) Finding {
	at := q.subject.Status.ProxyAddress
	switch {
	case q.subject.ProxyOff != "":
		return skipped("%s", q.subject.ProxyOff)
	case at == "":
		f := failed("the proxy does not listen anywhere")
		f.Remedy = "choose another port: warp-cli proxy port N"
		return f
	case q.subject.ProxyShared:
		return ok("%s, the service's for all of its users", at)
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	c, err := q.env.Dial(ctx, "tcp", at)
	if err != nil {
		return failed("nothing takes connections at %s: %v", at, err)
	}
	_ = c.Close() // it is there, which was the question
	return ok("%s", at)
}

func checkFlows(_ context.Context, q *inquiry) Finding {
	s := q.subject
	switch {
	case s.FlowLimit > 0 && s.Flows >= s.FlowLimit:
		return failed("%d connections are open, which is the limit", s.Flows)
	case s.FlowsRefused > 0:
		return failed("%d connections were refused because %d were open", s.FlowsRefused, s.FlowLimit)
	default:
		return ok("%d of %d connections are open", s.Flows, s.FlowLimit)
	}
}

func checkErrors(_ context.Context, q *inquiry) Finding {
	n, last := 0, ""
	for _, e := range q.subject.Errors {
		if q.env.Now().Sub(e.Time) < recent {
			n++
			last = e.Message
		}
	}
	if n == 0 {
		return ok("none lately")
	}
	return failed("%d lately, the last: %s", n, last)
}
