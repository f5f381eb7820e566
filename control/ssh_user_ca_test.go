package control_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
	"weft/control/sshca"
	"weft/control/store"
	"weft/internal/kind"
	"weft/internal/sshdtest"
	"weft/internal/testwait"
	"weft/vnet"
)

// device is a KeySource whose keys never leave it, as those of a PKCS #11 token: a reference is a number.
type device struct {
	mu sync.Mutex
	// The fields below are guarded by mu.
	keys   map[string]crypto.Signer
	next   int
	broken bool
	swap   bool // answer with another key
}

var _ sshca.KeySource = (*device)(nil)

var errUnplugged = errors.New("the device is unplugged: slot 7")

func (d *device) Generate(_ context.Context, a sshca.Algorithm) (ssh.PublicKey, []byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return nil, nil, errUnplugged
	}
	var key crypto.Signer
	var err error
	if a == sshca.ED25519 {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	d.next++
	reference := "object=" + strconv.Itoa(d.next)
	if d.keys == nil {
		d.keys = map[string]crypto.Signer{}
	}
	d.keys[reference] = opaque{key}
	public, err := ssh.NewPublicKey(key.Public())
	return public, []byte(reference), err
}

func (d *device) Signer(_ context.Context, reference []byte) (sshca.Signer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key, ok := d.keys[string(reference)]
	if d.broken || !ok {
		return nil, errUnplugged
	}
	if d.swap {
		_, key, _ = ed25519.GenerateKey(rand.Reader)
	}
	return sshca.NewSigner(key)
}

func (d *device) Destroy(_ context.Context, reference []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.keys, string(reference))
	return nil
}

func (d *device) set(broken, swap bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken, d.swap = broken, swap
}

func (d *device) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.keys)
}

// opaque is nothing but a crypto.Signer.
type opaque struct{ key crypto.Signer }

func (o opaque) Public() crypto.PublicKey { return o.key.Public() }
func (o opaque) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return o.key.Sign(r, digest, opts)
}

// sshWorld is an account with a target, a user and a gateway.
type sshWorld struct {
	*controltest.Server
	t              *testing.T
	vnet           string
	target, device string
	gw             *api.Client
}

func newSSHWorld(t *testing.T, cfg control.Config, login string) *sshWorld {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	w := &sshWorld{Server: controltest.Start(t, cfg), t: t}
	w.vnet = w.DefaultVNET()
	w.target = w.Target("web-1", "10.0.0.9", w.vnet)
	w.App("ssh", "web-1", "SSH", 22, "a@b.c", login)
	w.gw = w.ClientWith(api.Secret(w.Gateway("gw").Token))
	w.device = w.Enrol("a@b.c", "laptop").DeviceID
	return w
}

func (w *sshWorld) request(key ssh.PublicKey, session, login string) api.CertificateRequest {
	return api.CertificateRequest{
		PublicKey: string(ssh.MarshalAuthorizedKey(key)), SessionID: session, DeviceID: w.device, VNET: vnet.ID(w.vnet),
		Destination: netip.MustParseAddrPort("10.0.0.9:22"), Login: login,
	}
}

func (w *sshWorld) certify(r api.CertificateRequest) (*ssh.Certificate, error) {
	w.t.Helper()
	var out api.Certificate
	if err := w.gw.Do(w.t.Context(), http.MethodPost, api.PathGatewayCertificate, r, &out); err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(out.Certificate))
	if err != nil {
		w.t.Fatal(err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok || cert.Serial != out.Serial {
		w.t.Fatalf("signed %T, serial %d", key, out.Serial)
	}
	return cert, nil
}

func (w *sshWorld) mustCertify(session string) *ssh.Certificate {
	w.t.Helper()
	cert, err := w.certify(w.request(newHostKey(w.t).PublicKey(), session, "root"))
	if err != nil {
		w.t.Fatal(err)
	}
	return cert
}

func newHostKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *sshWorld) makeCA(in api.NewSSHUserCA) (ca api.SSHUserCA) {
	w.t.Helper()
	w.Call(http.MethodPost, api.PathSSHUserCAs, in, &ca)
	return ca
}

func (w *sshWorld) activate(id string) {
	w.t.Helper()
	w.Call(http.MethodPost, api.PathSSHUserCAs+"/"+id+"/activate", nil, nil)
}

func signedBy(cert *ssh.Certificate, ca api.SSHUserCA) bool {
	return ssh.FingerprintSHA256(cert.SignatureKey) == ca.Fingerprint
}

func TestSSHUserCA_RotationOverlaps(t *testing.T) {
	for name, keys := range map[string]sshca.KeySource{"software": nil, "a device": &device{}} {
		t.Run(name, func(t *testing.T) { rotateUserCA(t, keys) })
	}
}

func rotateUserCA(t *testing.T, keys sshca.KeySource) {
	t.Helper()
	w := newSSHWorld(t, control.Config{SSHKeys: keys}, "root")
	gateways := watch[api.GatewayState](t, w.gw, api.PathGatewaySync)
	var old api.GatewayCA
	w.Call(http.MethodPost, w.Account("/access/gateway_ca"), nil, &old)
	if !strings.HasPrefix(old.PublicKey, "ecdsa-sha2-nistp256 ") {
		t.Errorf("the public API made %s", old.PublicKey)
	}
	first := w.mustCertify("one")
	next := w.makeCA(api.NewSSHUserCA{Algorithm: "ed25519", Next: true})
	if next.State != api.UserCANext || next.Algorithm != "ed25519" || !strings.HasPrefix(next.PublicKey, "ssh-ed25519 ") {
		t.Errorf("made %+v", next)
	}
	gateways.until(t, "both, the one that signs first", func(g *api.GatewayState) bool {
		return slices.Equal(g.Self.SSHUserCAs, []string{old.PublicKey, next.PublicKey}) && g.Self.SSHCAPublicKey == old.PublicKey
	})
	if c := w.mustCertify("two"); ssh.FingerprintSHA256(c.SignatureKey) != ssh.FingerprintSHA256(first.SignatureKey) {
		t.Error("the next one signs already")
	}
	w.activate(next.ID)
	gateways.until(t, "the new one signs", func(g *api.GatewayState) bool {
		return g.Self.SSHCAPublicKey == next.PublicKey && len(g.Self.SSHUserCAs) == 2
	})
	if c := w.mustCertify("three"); !signedBy(c, next) {
		t.Error("the old one signs still")
	}
	var public []api.GatewayCA
	w.Call(http.MethodGet, w.Account("/access/gateway_ca"), nil, &public)
	if len(public) != 1 || public[0].ID != next.ID {
		t.Errorf("the public API lists %+v", public)
	}
	w.activate(old.ID) // a target was forgotten
	if c := w.mustCertify("four"); signedBy(c, next) {
		t.Error("there is no way back")
	}
	w.activate(next.ID)
	remove := func(id, query string) error {
		return w.Client.Do(t.Context(), http.MethodDelete, api.PathSSHUserCAs+"/"+id+query, nil, nil)
	}
	if err := remove(next.ID, ""); !kind.Is(err, kind.Conflict) {
		t.Errorf("the one that signs was removed: %v", err)
	}
	if err := remove(old.ID, ""); !kind.Is(err, kind.Conflict) || !strings.Contains(err.Error(), "in force") {
		t.Errorf("removed under its certificates: %v", err)
	}
	if err := remove(old.ID, "?force=true"); err != nil {
		t.Fatal(err)
	}
	if d, ok := keys.(*device); ok && d.count() != 1 {
		t.Errorf("the device has %d keys", d.count())
	}
	gateways.until(t, "the old one is gone", func(g *api.GatewayState) bool { return slices.Equal(g.Self.SSHUserCAs, []string{next.PublicKey}) })
	list, _ := w.krl()
	if len(list.Keys) != 1 || ssh.FingerprintSHA256(list.Keys[0]) != ssh.FingerprintSHA256(first.SignatureKey) {
		t.Errorf("the list revokes %+v", list)
	}
	if _, err := w.certify(w.request(newHostKey(t).PublicKey(), "five", "root")); err != nil {
		t.Error(err)
	}
}

// A device that fails, or answers with another key, makes no certificate; what it says goes to the log alone.
func TestSSHUserCA_DeviceFails(t *testing.T) {
	d := &device{}
	w := newSSHWorld(t, control.Config{SSHKeys: d}, "root")
	w.makeCA(api.NewSSHUserCA{})
	for name, set := range map[string]func(){"broken": func() { d.set(true, false) }, "swapped": func() { d.set(false, true) }} {
		set()
		for what, err := range map[string]error{
			"a certificate": func() error { _, err := w.certify(w.request(newHostKey(t).PublicKey(), "s", "root")); return err }(),
			"a probe":       w.Client.Do(t.Context(), http.MethodPost, api.PathSSHProbe, api.SSHProbeRequest{Login: "root"}, nil),
		} {
			if !kind.Is(err, kind.Internal) || strings.Contains(err.Error(), "slot 7") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	d.set(true, false)
	if err := w.Client.Do(t.Context(), http.MethodPost, api.PathSSHUserCAs, api.NewSSHUserCA{Next: true}, nil); !kind.Is(err, kind.Internal) {
		t.Errorf("made a CA without a device: %v", err)
	}
	d.set(false, false)
	w.mustCertify("s")
	// What is refused leaves no key behind.
	if err := w.Client.Do(t.Context(), http.MethodPost, api.PathSSHUserCAs, api.NewSSHUserCA{}, nil); !kind.Is(err, kind.Conflict) || d.count() != 1 {
		t.Errorf("%v, and %d keys", err, d.count())
	}
	// Host keys are signed by it too, and the first request makes the authority.
	hostCert(t, w.gw, keyLine(t))
	if d.count() != 2 {
		t.Errorf("%d keys", d.count())
	}
}

func TestCertificates_AreNarrow(t *testing.T) {
	w := newSSHWorld(t, control.Config{}, "root")
	w.makeCA(api.NewSSHUserCA{})
	for _, tc := range []struct {
		name       string
		change     func(*api.CertificateRequest)
		options    map[string]string
		extensions []string
	}{
		{"nothing is said", func(*api.CertificateRequest) {}, map[string]string{}, []string{"permit-pty"}},
		{"from an address", func(r *api.CertificateRequest) { r.SourceAddress = netip.MustParseAddr("10.0.0.2") }, map[string]string{"source-address": "10.0.0.2/32"}, []string{"permit-pty"}},
		{"from an IPv6 address", func(r *api.CertificateRequest) { r.SourceAddress = netip.MustParseAddr("fd00::2") }, map[string]string{"source-address": "fd00::2/128"}, []string{"permit-pty"}},
		{"more than the policy allows", func(r *api.CertificateRequest) {
			r.Extensions = []string{"permit-pty", "permit-port-forwarding", "permit-agent-forwarding", "permit-X11-forwarding"}
		}, map[string]string{}, []string{"permit-pty"}},
		{"less than the policy allows", func(r *api.CertificateRequest) { r.Extensions = []string{"permit-X11-forwarding"} }, map[string]string{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := w.request(newHostKey(t).PublicKey(), "s", "root")
			tc.change(&r)
			cert, err := w.certify(r)
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(cert.CriticalOptions, tc.options) || !slices.Equal(slices.Sorted(maps.Keys(cert.Extensions)), tc.extensions) {
				t.Errorf("options %v, extensions %v", cert.CriticalOptions, cert.Extensions)
			}
		})
	}
	for name, change := range map[string]func(*api.CertificateRequest){
		"an extension that is none": func(r *api.CertificateRequest) { r.Extensions = []string{"permit-user-rc"} },
		"no address":                func(r *api.CertificateRequest) { r.SourceAddress = netip.IPv4Unspecified() },
		"an address with a zone":    func(r *api.CertificateRequest) { r.SourceAddress = netip.MustParseAddr("fe80::1%eth0") },
	} {
		r := w.request(newHostKey(t).PublicKey(), "s", "root")
		change(&r)
		if _, err := w.certify(r); !kind.Is(err, kind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// krl fetches the list, without a credential.
func (w *sshWorld) krl() (*sshca.KRL, []byte) {
	w.t.Helper()
	b, err := w.ClientWith("").Bytes(w.t.Context(), api.PathSSHKRL)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := sshca.ParseKRL(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return l, b
}

func TestKRL_NamesWhatMustNotBeTaken(t *testing.T) {
	w := newSSHWorld(t, control.Config{}, "root")
	serials := func() (out []uint64) {
		l, _ := w.krl()
		for _, s := range l.Serials {
			out = append(out, s.Serials...)
		}
		slices.Sort(out)
		return out
	}
	if l, _ := w.krl(); len(l.Keys)+len(l.Serials) != 0 {
		t.Errorf("an account without a CA revokes %+v", l)
	}
	w.makeCA(api.NewSSHUserCA{})
	one, two, three := w.mustCertify("one"), w.mustCertify("two"), w.mustCertify("three")
	revoke := func(c *api.Client, path string, in api.RevokeCertificates) (out api.RevokedCertificates, err error) {
		err = c.Do(t.Context(), http.MethodPost, path, in, &out)
		return out, err
	}
	other := w.ClientWith(api.Secret(w.Gateway("other").Token))
	if out, err := revoke(other, api.PathGatewaySSHRevoke, api.RevokeCertificates{Serial: one.Serial}); err != nil || out.Revoked != 0 {
		t.Errorf("a gateway revoked what is another's: %+v, %v", out, err)
	}
	if out, err := revoke(w.gw, api.PathGatewaySSHRevoke, api.RevokeCertificates{Serial: one.Serial}); err != nil || out.Revoked != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if got := serials(); !slices.Equal(got, []uint64{one.Serial}) {
		t.Errorf("revoked are %v", got)
	}
	if out, err := revoke(w.Client, api.PathSSHRevoke, api.RevokeCertificates{SessionID: "two"}); err != nil || out.Revoked != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if got := serials(); len(got) != 2 || !slices.Contains(got, two.Serial) {
		t.Errorf("revoked are %v", got)
	}
	for name, in := range map[string]api.RevokeCertificates{"nothing": {}, "both": {Serial: 1, SessionID: "s"}} {
		if _, err := revoke(w.Client, api.PathSSHRevoke, in); !kind.Is(err, kind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.Call(http.MethodPost, w.Account("/access/organizations/revoke_user"), api.RevokeUser{Email: "a@b.c"}, nil)
	testwait.Until(t, "the user's certificates are on the list", func() bool { return slices.Contains(serials(), three.Serial) })
}

func TestKRL_IsCachedByItsContent(t *testing.T) {
	w := newSSHWorld(t, control.Config{}, "root")
	w.makeCA(api.NewSSHUserCA{})
	c := newRawClient(t, w.Server)
	get := func(etag string) (status int, tag string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+api.PathSSHKRL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if etag != "" {
			req.Header.Set("If-None-Match", etag)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		return resp.StatusCode, resp.Header.Get("ETag")
	}
	status, tag := get("")
	if status != http.StatusOK || tag == "" {
		t.Fatalf("status %d, %q", status, tag)
	}
	if status, _ := get(tag); status != http.StatusNotModified {
		t.Errorf("the same again: status %d", status)
	}
	cert := w.mustCertify("s")
	w.Call(http.MethodPost, api.PathSSHRevoke, api.RevokeCertificates{Serial: cert.Serial}, nil)
	if status, changed := get(tag); status != http.StatusOK || changed == tag {
		t.Errorf("after a revocation: status %d, %q", status, changed)
	}
}

// The judge is the real sshd: it takes certificates of this control plane until its RevokedKeys name them.
func TestKRL_SSHDObeys(t *testing.T) {
	sshd := sshdtest.Start(t)
	w := newSSHWorld(t, control.Config{}, sshd.User)
	ca := w.makeCA(api.NewSSHUserCA{})
	next := w.makeCA(api.NewSSHUserCA{Algorithm: "ed25519", Next: true})
	keys := sshd.Write("user_ca.pub", []byte(ca.PublicKey+"\n"+next.PublicKey+"\n"))
	fetch := func() {
		t.Helper()
		_, b := w.krl()
		sshd.Write("krl", b)
	}
	fetch()
	sshd.Configure("TrustedUserCAKeys "+keys, "RevokedKeys "+sshd.Path("krl"))
	login := func(key ssh.Signer, cert *ssh.Certificate) error {
		t.Helper()
		signer, err := ssh.NewCertSigner(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ssh.Dial("tcp", sshd.Addr.String(), &ssh.ClientConfig{
			User: sshd.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(sshd.HostKey.PublicKey()),
		})
		if err == nil {
			err = c.Close()
		}
		return err
	}
	issue := func(session string) (ssh.Signer, *ssh.Certificate) {
		t.Helper()
		key := newHostKey(t)
		cert, err := w.certify(w.request(key.PublicKey(), session, sshd.User))
		if err != nil {
			t.Fatal(err)
		}
		return key, cert
	}
	key, cert := issue("cut")
	otherKey, other := issue("other")
	if err := login(key, cert); err != nil {
		t.Fatalf("before: %v", err)
	}
	w.Call(http.MethodPost, api.PathSSHRevoke, api.RevokeCertificates{SessionID: "cut"}, nil)
	fetch()
	if err := login(key, cert); err == nil {
		t.Error("sshd took a revoked certificate")
	}
	if err := login(otherKey, other); err != nil {
		t.Errorf("sshd refused another: %v", err)
	}
	// An authority that is removed takes all its certificates with it, the other one works on.
	w.activate(next.ID)
	w.Call(http.MethodDelete, api.PathSSHUserCAs+"/"+ca.ID+"?force=true", nil, nil)
	fetch()
	if err := login(otherKey, other); err == nil {
		t.Error("sshd took a certificate of an authority that is gone")
	}
	newKey, newer := issue("new")
	if err := login(newKey, newer); err != nil {
		t.Errorf("sshd refused the new authority: %v", err)
	}
	if !strings.Contains(sshd.Log(), "revoked") {
		t.Errorf("sshd says %s", sshd.Log())
	}
}

func TestSSHTargetCAs(t *testing.T) {
	w := newSSHWorld(t, control.Config{}, "root")
	gateways := watch[api.GatewayState](t, w.gw, api.PathGatewaySync)
	line := keyLine(t)
	create := func(in api.NewSSHTargetCA) (ca api.SSHTargetCA, err error) {
		err = w.Client.Do(t.Context(), http.MethodPost, api.PathSSHTargetCAs, in, &ca)
		return ca, err
	}
	good := api.NewSSHTargetCA{PublicKey: line, Hostnames: []string{"*.prod", "10.0.0.?", "fd00:*"}, VNET: w.vnet, Required: true}
	ca, err := create(good)
	if err != nil {
		t.Fatal(err)
	}
	var list []api.SSHTargetCA
	w.Call(http.MethodGet, api.PathSSHTargetCAs, nil, &list)
	if len(list) != 1 || list[0].ID != ca.ID || list[0].VNET != w.vnet || !list[0].Required || !strings.HasPrefix(ca.Fingerprint, "SHA256:") {
		t.Errorf("listed %+v", list)
	}
	gateways.until(t, "the authority", func(g *api.GatewayState) bool {
		c := g.Self.SSHTargetCAs
		return len(c) == 1 && c[0].VNET == w.vnet && c[0].Required && slices.Equal(c[0].Hostnames, good.Hostnames) && c[0].PublicKey == strings.TrimSpace(line)
	})
	many := make([]string, 65)
	for i := range many {
		many[i] = "h" + strconv.Itoa(i)
	}
	for _, tc := range []struct {
		name   string
		change func(*api.NewSSHTargetCA)
	}{
		{"no key", func(c *api.NewSSHTargetCA) { c.PublicKey = "" }},
		{"a key with options", func(c *api.NewSSHTargetCA) { c.PublicKey = "cert-authority " + line }},
		{"no hostname", func(c *api.NewSSHTargetCA) { c.Hostnames = nil }},
		{"too many hostnames", func(c *api.NewSSHTargetCA) { c.Hostnames = many }},
		{"an empty hostname", func(c *api.NewSSHTargetCA) { c.Hostnames = []string{""} }},
		{"a hostname too long", func(c *api.NewSSHTargetCA) { c.Hostnames = []string{strings.Repeat("a", 254)} }},
		{"a negated pattern", func(c *api.NewSSHTargetCA) { c.Hostnames = []string{"!a"} }},
		{"a class of characters", func(c *api.NewSSHTargetCA) { c.Hostnames = []string{"a[bc]"} }},
		{"an escape", func(c *api.NewSSHTargetCA) { c.Hostnames = []string{`a\*`} }},
		{"a hostname twice", func(c *api.NewSSHTargetCA) { c.Hostnames = []string{"a", "a"} }},
		{"no such network", func(c *api.NewSSHTargetCA) { c.VNET = "none" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := good
			in.PublicKey = keyLine(t)
			tc.change(&in)
			if c, err := create(in); !kind.Is(err, kind.Invalid) {
				t.Errorf("made %+v, %v", c, err)
			}
		})
	}
	if _, err := create(good); !kind.Is(err, kind.Conflict) {
		t.Errorf("twice: %v", err)
	}
	w.Call(http.MethodDelete, api.PathSSHTargetCAs+"/"+ca.ID, nil, nil)
	if err := w.Client.Do(t.Context(), http.MethodDelete, api.PathSSHTargetCAs+"/"+ca.ID, nil, nil); !kind.Is(err, kind.NotFound) {
		t.Errorf("again: %v", err)
	}
	gateways.until(t, "none", func(g *api.GatewayState) bool { return len(g.Self.SSHTargetCAs) == 0 })
}

// A probe certificate is of every authority, for a key that nobody has, and on record.
func TestSSHProbe(t *testing.T) {
	w := newSSHWorld(t, control.Config{}, "root")
	ca := w.makeCA(api.NewSSHUserCA{})
	next := w.makeCA(api.NewSSHUserCA{Next: true})
	probe := func() (out api.SSHProbe) {
		t.Helper()
		w.Call(http.MethodPost, api.PathSSHProbe, api.SSHProbeRequest{Login: "somebody"}, &out)
		return out
	}
	p := probe()
	if len(p.Certificates) != 2 || p.Certificates[0].CA.ID != ca.ID || p.Certificates[1].CA.ID != next.ID {
		t.Fatalf("got %+v", p)
	}
	seen := map[string]bool{}
	for _, c := range append(p.Certificates, probe().Certificates...) {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(c.Certificate))
		if err != nil {
			t.Fatal(err)
		}
		cert, ok := key.(*ssh.Certificate)
		if !ok || !signedBy(cert, c.CA) || !slices.Equal(cert.ValidPrincipals, []string{"somebody"}) || cert.CriticalOptions["force-command"] != "/bin/false" ||
			len(cert.Extensions) != 0 || time.Until(c.ValidBefore) > 3*time.Minute {
			t.Errorf("certificate %+v", cert)
		}
		if fp := string(cert.Key.Marshal()); seen[fp] {
			t.Error("a key was used twice")
		} else {
			seen[fp] = true
		}
	}
	for _, login := range []string{"", "a,b", "a b"} {
		if err := w.Client.Do(t.Context(), http.MethodPost, api.PathSSHProbe, api.SSHProbeRequest{Login: login}, nil); !kind.Is(err, kind.Invalid) {
			t.Errorf("login %q: %v", login, err)
		}
	}
}

func TestSSHCAs_Permissions(t *testing.T) {
	w := newSSHWorld(t, control.Config{}, "root")
	c := newRawClient(t, w.Server)
	endpoints := []struct {
		method, path, body string
		reads              bool
	}{
		{http.MethodPost, api.PathSSHUserCAs, `{"next":true}`, false},
		{http.MethodPost, api.PathSSHUserCAs + "/none/activate", "", false},
		{http.MethodDelete, api.PathSSHUserCAs + "/none", "", false},
		{http.MethodPost, api.PathSSHProbe, `{"login":"root"}`, false},
		{http.MethodGet, api.PathSSHTargetCAs, "", true},
		{http.MethodPost, api.PathSSHTargetCAs, `{}`, false},
		{http.MethodDelete, api.PathSSHTargetCAs + "/none", "", false},
		{http.MethodPost, api.PathSSHRevoke, `{"serial":1}`, false},
	}
	for _, permission := range control.Permissions() {
		token := newToken(t, w.Server, store.TokenFields{Permissions: []string{permission}})
		for _, tc := range endpoints {
			want := permission == "All" || permission == "Access: SSH Auditing Write" || tc.reads && permission == "Access: SSH Auditing Read"
			r := c.do(t, tc.method, tc.path, token, tc.body)
			if got := r.status != http.StatusForbidden; got != want {
				t.Errorf("%s %s with %q: status %d", tc.method, tc.path, permission, r.status)
			}
			if want && r.status >= 500 {
				t.Errorf("%s %s: status %d", tc.method, tc.path, r.status)
			}
			if bytes.Contains(r.raw, []byte("PRIVATE")) || bytes.Contains(r.raw, []byte("sealed")) {
				t.Errorf("%s %s tells %s", tc.method, tc.path, r.raw)
			}
		}
	}
	stranger := w.Gateway("stranger").Token
	for _, tc := range endpoints {
		for name, token := range map[string]string{"nobody": "", "a gateway": stranger} {
			if r := c.do(t, tc.method, tc.path, token, tc.body); r.status < 400 || r.status >= 500 {
				t.Errorf("%s %s as %s: status %d", tc.method, tc.path, name, r.status)
			}
		}
	}
	unknown := c.do(t, http.MethodPost, api.PathSSHUserCAs, w.Token, `{"kind":"ed25519"}`)
	if unknown.status != http.StatusBadRequest {
		t.Errorf("an unknown field: status %d", unknown.status)
	}
}
