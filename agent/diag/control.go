package diag

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"weft/api"
)

const (
	dialLimit = 4 * time.Second
	// maxSkew is more than a clock may be wrong: certificates of logins live three minutes.
	maxSkew = 2 * time.Minute
)

// controlFacts are what one visit to control's health page found, as far as it got.
type controlFacts struct {
	url      *url.URL
	proxy    *url.URL
	proxyErr error
	addrs    []netip.Addr
	dnsErr   error
	tcpErr   error
	httpErr  error // TLS or HTTP
	chain    []*x509.Certificate
	status   int
	body     []byte
	date     time.Time // of the answer; zero: it named none
	at       time.Time // by this machine's clock
}

func (q *inquiry) control(ctx context.Context) *controlFacts {
	q.controlOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkDeadline-time.Second)
		defer cancel()
		q.controlSeen = q.visit(ctx)
	})
	return &q.controlSeen
}

// visit goes to control without trusting anything that it hears, and without a credential.
func (q *inquiry) visit(ctx context.Context) controlFacts {
	var f controlFacts
	var err error
	if f.url, err = url.Parse(q.subject.ControlURL); err != nil || f.url.Hostname() == "" {
		f.dnsErr = errors.New("the registration names no control plane")
		return f
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.subject.ControlURL+api.PathHealth, http.NoBody)
	if err != nil {
		f.dnsErr = err
		return f
	}
	f.proxy, f.proxyErr = q.env.Proxy(req)
	address := hostPort(f.url)
	if f.proxy != nil {
		address = hostPort(f.proxy)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		f.dnsErr = err
		return f
	}
	if f.addrs, f.dnsErr = q.lookup(ctx, host); f.dnsErr != nil {
		return f
	}
	q.request(&f, req, port)
	return f
}

func (q *inquiry) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	addrs, err := q.env.LookupHost(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has no address", host)
	}
	return addrs, err
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (q *inquiry) request(f *controlFacts, req *http.Request, port string) {
	tr := &http.Transport{
		Proxy: func(*http.Request) (*url.URL, error) { return f.proxy, f.proxyErr },
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var c net.Conn
			for _, a := range f.addrs {
				dctx, cancel := context.WithTimeout(ctx, dialLimit)
				c, f.tcpErr = q.env.Dial(dctx, "tcp", net.JoinHostPort(a.String(), port))
				cancel()
				if f.tcpErr == nil {
					return c, nil
				}
			}
			return nil, f.tcpErr
		},
		// What is presented is looked at by the checks: a chain that cannot be trusted is what they look for.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: func(cs tls.ConnectionState) error {
			f.chain = cs.PeerCertificates
			return nil
		}},
		TLSHandshakeTimeout: dialLimit, ResponseHeaderTimeout: dialLimit, DisableKeepAlives: true,
	}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	f.at = q.env.Now()
	if err != nil {
		f.httpErr = err
		return
	}
	defer func() { _ = resp.Body.Close() }() // read as far as needed
	f.status = resp.StatusCode
	if d, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		f.date = d
	}
	f.body, f.httpErr = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
}

func (f *controlFacts) via() string {
	if f.proxy == nil {
		return ""
	}
	return " by the proxy " + f.proxy.Redacted()
}

func checkControlDNS(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	if f.dnsErr != nil {
		return failed("%s cannot be resolved%s: %v", q.host(f), f.via(), f.dnsErr)
	}
	return ok("%s is %s", q.host(f), join(f.addrs))
}

func (q *inquiry) host(f *controlFacts) string {
	switch {
	case f.proxy != nil:
		return f.proxy.Hostname()
	case f.url != nil:
		return f.url.Hostname()
	default:
		return "control"
	}
}

func join[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}

func checkEnvProxy(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	switch {
	case f.proxyErr != nil:
		return failed("the environment names a proxy that cannot be understood")
	case f.proxy == nil:
		return ok("none is used for the control plane")
	case f.dnsErr != nil || f.tcpErr != nil:
		return failed("the environment asks for the proxy %s, which cannot be reached", f.proxy.Redacted())
	default:
		return ok("%s is used for the control plane, as the environment asks", f.proxy.Redacted())
	}
}

func checkControlTCP(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	if f.tcpErr != nil {
		return failed("%s does not take connections: %v", hostPort(f.url)+f.via(), f.tcpErr)
	}
	return ok("%s takes connections", hostPort(f.url)+f.via())
}

func checkControlTLS(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	if len(f.chain) == 0 {
		return failed("there is no TLS at %s%s: %v", hostPort(f.url), f.via(), f.httpErr)
	}
	return ok("the TLS handshake succeeds")
}

func checkClock(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	if f.date.IsZero() {
		return unknown("control named no time")
	}
	skew := f.at.Sub(f.date).Round(time.Second)
	if skew.Abs() > maxSkew {
		word := "ahead of"
		if skew < 0 {
			word = "behind"
		}
		return failed("this machine's clock is %s %s the control plane's", skew.Abs(), word)
	}
	return ok("this machine's clock and the control plane's agree")
}

// verify checks the chain as the agent does, by the clock given.
func (q *inquiry) verify(f *controlFacts, roots *x509.CertPool, at time.Time) error {
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), DNSName: f.url.Hostname(), CurrentTime: at}
	pinned := roots != nil || q.subject.CAFingerprint == ""
	want, err := hex.DecodeString(q.subject.CAFingerprint)
	if err != nil {
		return errors.New("the fingerprint of the registration cannot be read")
	}
	for _, c := range f.chain[1:] {
		opts.Intermediates.AddCert(c)
		sum := sha256.Sum256(c.Raw)
		if !pinned && bytes.Equal(sum[:], want) {
			opts.Roots, pinned = x509.NewCertPool(), true
			opts.Roots.AddCert(c)
		}
	}
	if !pinned {
		return errors.New("the chain does not hold the certificate authority of the registration")
	}
	_, err = f.chain[0].Verify(opts)
	return err
}

func issuer(f *controlFacts) string {
	c := f.chain[0]
	if c.Issuer.CommonName != "" {
		return c.Issuer.CommonName
	}
	return c.Issuer.String()
}

// checkInterception tells a certificate that this machine trusts for other reasons than the registration from another one:
// that is what programs and proxies present that read TLS.
func checkInterception(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	if q.subject.Roots == nil && q.subject.CAFingerprint == "" {
		return ok("the control plane has a certificate of the system's authorities")
	}
	if q.verify(f, q.subject.Roots, f.at) == nil {
		return ok("nobody reads along")
	}
	opts := x509.VerifyOptions{Intermediates: x509.NewCertPool(), DNSName: f.url.Hostname(), CurrentTime: f.at}
	for _, c := range f.chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := f.chain[0].Verify(opts); err == nil {
		return failed("the certificate is by %s, which this machine trusts and the registration does not", issuer(f))
	}
	return ok("the certificate is of no authority that this machine trusts")
}

func checkCertificate(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	if err := q.verify(f, q.subject.Roots, f.at); err != nil {
		return failed("the certificate by %s is not the registration's: %v", issuer(f), err)
	}
	return ok("it is that of the registration, by %s", issuer(f))
}

func checkControlHTTP(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	switch {
	case f.httpErr != nil:
		return failed("no answer: %v", f.httpErr)
	case f.status != http.StatusOK || !bytes.Contains(f.body, []byte(`"status":"ok"`)):
		return failed("what answers is no control plane (status %d)", f.status)
	default:
		return ok("control answers")
	}
}

// checkPortal looks for a network that answers in place of others until somebody logs in to it. It asks nobody but the host
// of control, at port 80, where a control plane does not listen.
func checkPortal(ctx context.Context, q *inquiry) Finding {
	f := q.control(ctx)
	if f.url == nil || f.proxy != nil || len(f.addrs) == 0 {
		return skipped("it cannot be looked at")
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.url.Hostname()+"/weft-portal-check", http.NoBody)
	if err != nil {
		return unknown("%v", err)
	}
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return q.env.Dial(ctx, "tcp", net.JoinHostPort(f.addrs[0].String(), "80"))
		},
		DisableKeepAlives: true,
	}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return ok("nobody answers in place of the control plane")
	}
	defer func() { _ = resp.Body.Close() }() // the head is enough
	if to, err := resp.Location(); err == nil && to.Hostname() != f.url.Hostname() {
		return failed("this network answers in place of others and sends them to %s", to.Host)
	}
	if resp.StatusCode == http.StatusNetworkAuthenticationRequired { // RFC 6585 section 6
		return failed("this network asks for a login")
	}
	return ok("nobody answers in place of the control plane")
}

func checkControlStream(_ context.Context, q *inquiry) Finding {
	s := q.subject.Status
	if s.ControlConnected {
		return ok("the list is kept current (revision %d)", s.StateRevision)
	}
	return failed("control answers, but the agent does not follow it: %s", orNothing(s.Detail))
}

func orNothing(s string) string {
	if s == "" {
		return "no reason is known"
	}
	return s
}
