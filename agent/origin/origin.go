// Package origin carries where a flow was asked for from the entrance that took the request (a proxy, the local API, a
// forward) to the agent's table of flows. It decides nothing.
package origin

import (
	"context"
	"net"
	"net/netip"
)

// Entrance is the way by which a program reached the agent.
type Entrance string

// The entrances.
const (
	SOCKS   Entrance = "socks"
	HTTP    Entrance = "http"
	Dial    Entrance = "dial"    // POST /dial: warp-cli nc and ssh
	Forward Entrance = "forward" // a local forward
	Agent   Entrance = "agent"   // the agent itself, or an entrance that did not say
)

// Origin says who asked for a flow, as far as it is known.
type Origin struct {
	Entrance Entrance
	// Client is the program's end of its connection to a proxy; invalid where there is no such address.
	Client netip.AddrPort
	// PID of the program; 0: not known.
	PID int
}

// Of says that the program at the other end of c asked, by an entrance.
func Of(by Entrance, c net.Conn) Origin {
	o := Origin{Entrance: by}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		o.Client = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return o
}

type key struct{}

// With returns ctx with o; what is dialled under it counts as o's.
func With(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, key{}, o)
}

// From returns what With put into ctx, by default the agent itself.
func From(ctx context.Context) Origin {
	if o, ok := ctx.Value(key{}).(Origin); ok {
		return o
	}
	return Origin{Entrance: Agent}
}
