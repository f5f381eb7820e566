package diag

import (
	"context"
	"crypto/x509"
	"net/netip"
	"time"

	"weft/agent/localapi"
	"weft/api"
	"weft/targets"
	"weft/vnet"
)

// Subject is the agent that is looked at.
type Subject struct {
	StateDir   string
	Status     localapi.Status
	Registered bool
	// ProxyOff says why there is no proxy to look for; empty: there should be one.
	ProxyOff string
	// ProxyShared says that a service listens for all of its users: the agent itself must not connect there, for it would
	// be taken for the service's own user.
	ProxyShared bool
	// ControlURL, Roots and CAFingerprint are how control is found and known; nil Roots: the system's.
	ControlURL    string
	Roots         *x509.CertPool
	CAFingerprint string
	// ReadKey reads the device's key and forgets it; it must keep to a deadline of its own.
	ReadKey func(context.Context) error
	// WriteState writes a small file to the state directory and removes it.
	WriteState func() error
	// Known says that there is a state of control's; StaleAfter when a gateway refuses by it.
	Known      bool
	StaleAfter time.Duration
	Networks   []vnet.Network
	Entries    []targets.Entry
	Gateways   []Gateway
	// Blocks are this device's tunnel addresses.
	Blocks []netip.Prefix
	// Echo sends so many bytes to the gateway through the tunnel and waits for their return; nil: there is no tunnel.
	Echo func(ctx context.Context, size int) (time.Duration, error)
	// LastHandshake of the tunnel; zero: none.
	LastHandshake time.Time
	// AskControl asks, by the device's credential, which gateways control hears.
	AskControl func(context.Context) ([]api.AgentGatewayStatus, error)
	// Flows are open, of FlowLimit; FlowsRefused were refused since the start because of limits.
	Flows, FlowLimit int
	FlowsRefused     uint64
	// Errors are the messages logged at level error lately.
	Errors []LoggedError
}

// Gateway is one that control named.
type Gateway struct {
	ID, Name       string
	Endpoints      []string
	CheckEndpoints []string
}

// LoggedError is a line of the log.
type LoggedError struct {
	Time    time.Time
	Message string
}
