package diag

import (
	"context"
	"errors"
	"net"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"weft/agent/localapi"
)

const (
	silenceLimit = 1500 * time.Millisecond // for an answer to a datagram
	echoLimit    = time.Second
	mtuLimit     = 900 * time.Millisecond
	mtuTries     = 4 // of what is lost by chance, few are four times in a row
	echoCount    = 8
	echoTries    = 3               // before it is called silent
	echoSpan     = 2 * time.Second // after which half as many will do
	maxLoss      = 0.25
	maxRTT       = 500 * time.Millisecond
	keepaliveAge = 4 * time.Minute // WireGuard makes a new handshake every two while it is kept alive
)

// silenceFacts are what is known of gateways that do not answer.
type silenceFacts struct {
	resolved  bool // at least one endpoint
	dnsErr    error
	refused   string // an endpoint whose host says that nobody listens there
	answered  string // another UDP service of the gateway's host that answers
	asked     []string
	connected int // gateways that control hears; -1: not known
}

func (q *inquiry) silence(ctx context.Context) *silenceFacts {
	q.silenceOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkDeadline-time.Second)
		defer cancel()
		q.silenceSeen = q.listen(ctx)
	})
	return &q.silenceSeen
}

// listen asks all endpoints at the same time.
func (q *inquiry) listen(ctx context.Context) silenceFacts {
	f := silenceFacts{connected: -1}
	var mu sync.Mutex // guards f
	var wg sync.WaitGroup
	for _, g := range q.subject.Gateways {
		for _, e := range g.Endpoints {
			wg.Go(func() { q.ask(ctx, e, false, &mu, &f) })
		}
		for _, e := range g.CheckEndpoints {
			wg.Go(func() { q.ask(ctx, e, true, &mu, &f) })
		}
	}
	if q.subject.AskControl != nil && !q.connected() {
		wg.Go(func() {
			list, err := q.subject.AskControl(ctx)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			f.connected = 0
			for _, g := range list {
				if g.Connected {
					f.connected++
				}
			}
		})
	}
	wg.Wait()
	sort.Strings(f.asked)
	return f
}

// ask knocks at one endpoint, of WireGuard or of the service beside it.
func (q *inquiry) ask(ctx context.Context, endpoint string, beside bool, mu *sync.Mutex, f *silenceFacts) {
	at, err := q.resolve(ctx, endpoint)
	if err != nil {
		mu.Lock()
		defer mu.Unlock()
		if !beside {
			f.dnsErr = err
		}
		return
	}
	var answer knocked
	if beside {
		answer = q.knock(ctx, at, strangeQUIC(), isVersionNegotiation)
	} else {
		answer = q.knock(ctx, at, handshakeLike(), nil)
	}
	mu.Lock()
	defer mu.Unlock()
	f.asked = append(f.asked, at)
	f.resolved = f.resolved || !beside
	switch {
	case beside && answer == knockAnswered:
		f.answered = at
	case !beside && answer == knockRefused:
		f.refused = at
	}
}

func (q *inquiry) resolve(ctx context.Context, endpoint string) (string, error) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return "", err
	}
	addrs, err := q.lookup(ctx, host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(addrs[0].String(), port), nil
}

type knocked int

const (
	knockSilent knocked = iota
	knockAnswered
	knockRefused
)

// knock sends a datagram and waits for an answer that fits, or for word that nobody listens there.
func (q *inquiry) knock(ctx context.Context, at string, packet []byte, fits func([]byte) bool) knocked {
	c, err := q.env.Dial(ctx, "udp", at)
	if err != nil {
		return knockSilent
	}
	defer func() { _ = c.Close() }() // nothing is lost
	limit := time.Now().Add(silenceLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	if err := c.SetDeadline(limit); err != nil {
		return knockSilent
	}
	buf := make([]byte, 2048)
	for range 2 {
		if _, err := c.Write(packet); errors.Is(err, syscall.ECONNREFUSED) {
			return knockRefused
		}
		n, err := c.Read(buf)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return knockRefused
		case err != nil:
			return knockSilent
		case fits != nil && fits(buf[:n]):
			return knockAnswered
		}
	}
	return knockSilent
}

// handshakeLike has the size and type of a WireGuard initiation; without the right MAC a gateway drops it unseen.
func handshakeLike() []byte {
	b := make([]byte, 148)
	b[0] = 1
	return b
}

// strangeQUIC is a QUIC long header of a version that does not exist; a server answers by naming those that it has (RFC 9000
// section 6.1), without any state.
func strangeQUIC() []byte {
	b := make([]byte, 1200)
	copy(b, []byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1})
	return b
}

// isVersionNegotiation recognises the answer (RFC 9000 section 17.2.1).
func isVersionNegotiation(b []byte) bool {
	return len(b) > 6 && b[0]&0x80 != 0 && b[1] == 0 && b[2] == 0 && b[3] == 0 && b[4] == 0
}

func (q *inquiry) connected() bool { return q.subject.Status.State == localapi.Connected }

// answers reports whether the gateway is heard through the tunnel, whatever the last state says.
func (q *inquiry) answers(ctx context.Context) bool {
	return q.subject.Echo != nil && q.echoes(ctx).received > 0
}

func checkGatewayNamed(_ context.Context, q *inquiry) Finding {
	if len(q.subject.Gateways) == 0 {
		return failed("the control plane names no gateway")
	}
	names := make([]string, len(q.subject.Gateways))
	for i, g := range q.subject.Gateways {
		names[i] = g.Name
	}
	sort.Strings(names)
	return ok("%s", strings.Join(names, ", "))
}

func checkGatewayDNS(ctx context.Context, q *inquiry) Finding {
	if q.answers(ctx) {
		return ok("the gateway answers")
	}
	f := q.silence(ctx)
	if !f.resolved {
		return failed("no endpoint of a gateway can be resolved: %v", f.dnsErr)
	}
	return ok("%s", strings.Join(f.asked, ", "))
}

func checkWanted(_ context.Context, q *inquiry) Finding {
	s := q.subject.Status
	if s.State == localapi.Disconnected && s.Reason == localapi.ReasonManual {
		return failed("the agent was told to disconnect")
	}
	return ok("the agent is to be connected")
}

func checkGatewayDown(ctx context.Context, q *inquiry) Finding {
	if q.answers(ctx) {
		return ok("the gateway answers")
	}
	f := q.silence(ctx)
	switch {
	case f.refused != "":
		return failed("nobody listens at %s", f.refused)
	case f.answered == "" && f.connected == 0:
		return failed("%s does not answer, and the control plane does not hear the gateway either", strings.Join(f.asked, ", "))
	default:
		return ok("nothing says that the gateway is down")
	}
}

func checkGatewayKey(ctx context.Context, q *inquiry) Finding {
	if q.answers(ctx) {
		return ok("the gateway answers")
	}
	f := q.silence(ctx)
	if f.answered != "" {
		return failed("UDP reaches the gateway's host (%s answers), but what is at its WireGuard endpoint does not know the key that the control plane named", f.answered)
	}
	return ok("nothing says so")
}

func checkUDP(ctx context.Context, q *inquiry) Finding {
	if q.answers(ctx) {
		return ok("the gateway answers")
	}
	f := q.silence(ctx)
	what := ""
	if f.connected > 0 {
		what = ", although the control plane hears the gateway"
	}
	return failed("no UDP comes back from %s%s", strings.Join(f.asked, ", "), what)
}

// echoFacts are what the gateway sent back.
type echoFacts struct {
	sent, received int
	rtt            []time.Duration // sorted
	err            error
}

func (q *inquiry) echoes(ctx context.Context) *echoFacts {
	q.echoOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkDeadline-time.Second)
		defer cancel()
		f := &q.echoSeen
		begin := time.Now()
		for f.sent < echoCount && (f.sent < echoCount/2 || time.Since(begin) < echoSpan) {
			ectx, stop := context.WithTimeout(ctx, echoLimit)
			rtt, err := q.subject.Echo(ectx, 64)
			stop()
			f.sent++
			if err != nil {
				f.err = err
				if f.received == 0 && f.sent >= echoTries {
					return // it is silent; no need to know it better
				}
				continue
			}
			f.received++
			f.rtt = append(f.rtt, rtt)
		}
		sort.Slice(f.rtt, func(i, j int) bool { return f.rtt[i] < f.rtt[j] })
	})
	return &q.echoSeen
}

func checkProbe(ctx context.Context, q *inquiry) Finding {
	if q.subject.Echo == nil {
		return failed("there is no tunnel: %s", orNothing(q.subject.Status.Detail))
	}
	f := q.echoes(ctx)
	if f.received == 0 {
		return failed("nothing comes back through the tunnel: %v", f.err)
	}
	return ok("the gateway answers through the tunnel")
}

func checkLoss(ctx context.Context, q *inquiry) Finding {
	f := q.echoes(ctx)
	loss := 1 - float64(f.received)/float64(f.sent)
	if loss > maxLoss {
		return failed("%d of %d probes came back", f.received, f.sent)
	}
	return ok("%d of %d probes came back", f.received, f.sent)
}

func checkLatency(ctx context.Context, q *inquiry) Finding {
	f := q.echoes(ctx)
	if len(f.rtt) == 0 {
		return unknown("nothing came back")
	}
	median := f.rtt[len(f.rtt)/2].Round(10 * time.Microsecond)
	if median > maxRTT {
		return failed("a round trip through the tunnel takes %s", median)
	}
	return ok("a round trip through the tunnel takes %s", median)
}

// mtuSizes are the payloads of the sweep; the gateway sends back at most 1200 bytes.
var mtuSizes = []int{64, 512, 800, 1000, 1100, 1200}

// checkMTU sweeps sizes: a black hole lets the small through and swallows the large without a word. It is not asked where much
// is lost of any size.
func checkMTU(ctx context.Context, q *inquiry) Finding {
	largest := 0
	for _, size := range mtuSizes {
		passed := false
		for try := 0; try < mtuTries && !passed && ctx.Err() == nil; try++ {
			ectx, cancel := context.WithTimeout(ctx, mtuLimit)
			_, err := q.subject.Echo(ectx, size)
			cancel()
			passed = err == nil
		}
		if !passed {
			return failed("datagrams of %d bytes come back, those of %d bytes do not", largest, size)
		}
		largest = size
	}
	return ok("datagrams of up to %d bytes come back", largest)
}

func checkKeepalive(_ context.Context, q *inquiry) Finding {
	if q.subject.LastHandshake.IsZero() {
		return unknown("no handshake is known")
	}
	age := q.env.Now().Sub(q.subject.LastHandshake).Round(time.Second)
	if age > keepaliveAge {
		return failed("the last handshake was %s ago", age)
	}
	return ok("the last handshake was %s ago", age)
}
