package gateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"weft/gateway/audit"
	"weft/tunnel"
)

var update = flag.Bool("update", false, "rewrite golden files")

// normalise replaces what differs from run to run. Sessions are numbered in ids.
func normalise(t *testing.T, ids map[string]string, e audit.Event) []byte {
	t.Helper()
	if e.Time.IsZero() || time.Since(e.Time) > time.Minute {
		t.Errorf("%s has time %v", e.Event, e.Time)
	}
	e.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if e.SessionID != "" {
		if ids[e.SessionID] == "" {
			ids[e.SessionID] = fmt.Sprintf("SESSION-%d", len(ids)+1)
		}
		e.SessionID = ids[e.SessionID]
	}
	if e.PolicyRev != 0 { // the report makes one more, sooner or later
		e.PolicyRev = 2
	}
	if e.Source.IsValid() {
		e.Source = netip.AddrPortFrom(e.Source.Addr(), 40000)
	}
	if e.DurationMS != nil {
		*e.DurationMS = 1
	}
	if e.Protocol == "SSH" && e.BytesUp != nil { // of key exchanges, which differ in length
		*e.BytesUp, *e.BytesDown = 1000, 2000
	}
	if _, ok := e.Detail["fingerprint"]; ok {
		e.Detail["fingerprint"] = "SHA256:FINGERPRINT"
	}
	if e.Event == audit.SSHCertificate {
		e.Detail["ca"], e.Detail["valid_before"], e.Detail["key_id"] = "SHA256:FINGERPRINT", "TIME", e.SessionID
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAll(b, []byte("127.0.0.1:50000"))
}

// What the gateway puts on record is what people and their tools read: a change of a line is a reviewed difference.
func TestAudit_Golden(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a"), at(portSSH): target.addr})

	c := w.mustDial(slotA, portTCP)
	readName(t, c)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	w.lastAudit(audit.FlowClose)
	if _, err := w.dial(slotA, at(81)); !errors.Is(err, tunnel.ErrProhibited) {
		t.Fatalf("dial: %v", err)
	}
	if _, err := w.dial(slotB, at(portTCP)); !errors.Is(err, tunnel.ErrUnreachable) {
		t.Fatalf("dial: %v", err)
	}
	if _, _, err := w.login("root"); err == nil {
		t.Fatal("root got in")
	}
	w.countAudit(audit.FlowClose, 3)
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var exit *ssh.ExitError
	if _, err := session.Output("uptime"); !errors.As(err, &exit) {
		t.Fatalf("exec: %v", err)
	}
	_ = client.Close()
	w.countAudit(audit.FlowClose, 4)
	w.stopGateway(w.stop, w.done)

	var got bytes.Buffer
	ids := make(map[string]string)
	for _, e := range w.auditEvents() {
		got.Write(normalise(t, ids, e))
		got.WriteByte('\n')
	}
	golden := filepath.Join("testdata", "audit.golden")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
}

// countAudit waits for n events of a kind.
func (w *world) countAudit(kind string, n int) {
	w.tb.Helper()
	w.eventually("audit events "+kind, 30*time.Second, func() bool {
		have := 0
		for _, e := range w.auditEvents() {
			if e.Event == kind {
				have++
			}
		}
		return have >= n
	})
}
