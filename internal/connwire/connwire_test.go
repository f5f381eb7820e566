package connwire_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"weft/internal/connwire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var request = connwire.Request{
	Transport: connwire.TCP, Timeout: 10 * time.Second, VNET: "11111111-0000-7000-8000-00000000000a",
	Destination: netip.MustParseAddrPort("10.20.0.5:22"),
}

func TestRequest_RoundTrip(t *testing.T) {
	v6 := request
	v6.Transport, v6.Destination = connwire.UDP, netip.MustParseAddrPort("[fd00::5]:53")
	for _, want := range []connwire.Request{request, v6} {
		b, err := want.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		r := bytes.NewReader(append(b, "more"...))
		got, err := connwire.ReadRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
		if r.Len() != len("more") {
			t.Errorf("%d bytes left, want %d: the flow's own bytes must stay", r.Len(), len("more"))
		}
	}
}

func TestRequest_RefusesWhatMakesNoSense(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*connwire.Request)
	}{
		{"no transport", func(q *connwire.Request) { q.Transport = 0 }},
		{"no timeout", func(q *connwire.Request) { q.Timeout = 0 }},
		{"a timeout of hours", func(q *connwire.Request) { q.Timeout = time.Hour }},
		{"no VNET", func(q *connwire.Request) { q.VNET = "" }},
		{"a long VNET", func(q *connwire.Request) { q.VNET = strings.Repeat("x", 65) }},
		{"a VNET with a newline", func(q *connwire.Request) { q.VNET = "a\nb" }},
		{"no address", func(q *connwire.Request) { q.Destination = netip.AddrPort{} }},
		{"port zero", func(q *connwire.Request) { q.Destination = netip.MustParseAddrPort("10.0.0.1:0") }},
		{"an IPv4-mapped address", func(q *connwire.Request) { q.Destination = netip.MustParseAddrPort("[::ffff:127.0.0.1]:22") }},
		{"a zone", func(q *connwire.Request) { q.Destination = netip.MustParseAddrPort("[fe80::1%eth0]:22") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := request
			tt.change(&q)
			if _, err := q.Append(nil); !errors.Is(err, connwire.ErrMalformed) {
				t.Errorf("Append: %v, want malformed", err)
			}
		})
	}
}

func TestHello_RoundTrip(t *testing.T) {
	want := connwire.Hello{TunnelID: "t", ConnectorID: "c", Software: "1.2.3", Proof: [32]byte{1, 2, 31: 3}}
	b, err := want.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := connwire.ReadHello(bytes.NewReader(b))
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range b {
		if _, err := connwire.ReadHello(bytes.NewReader(b[:n])); err == nil {
			t.Errorf("%d of %d bytes were enough", n, len(b))
		}
	}
}

func TestVerdict_RoundTrip(t *testing.T) {
	for _, want := range []connwire.Verdict{{OK: true}, {Message: "unknown tunnel or wrong proof"}} {
		got, err := connwire.ReadVerdict(bytes.NewReader(want.Append(nil)))
		if err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	long := connwire.Verdict{Message: strings.Repeat("x", 1000)}
	if got, err := connwire.ReadVerdict(bytes.NewReader(long.Append(nil))); err != nil || len(got.Message) != 255 {
		t.Errorf("a long message came as %d bytes, %v", len(got.Message), err)
	}
	if _, err := connwire.ReadVerdict(bytes.NewReader([]byte{2, 0})); !errors.Is(err, connwire.ErrMalformed) {
		t.Errorf("code 2: %v, want malformed", err)
	}
}

func TestStatus_RoundTrip(t *testing.T) {
	for s := connwire.StatusOK; s <= connwire.StatusFailed; s++ {
		if got := connwire.StatusOf(s.Err()); got != s {
			t.Errorf("status %d came back as %d", s, got)
		}
	}
	if _, err := connwire.ReadStatus(bytes.NewReader([]byte{7})); !errors.Is(err, connwire.ErrMalformed) {
		t.Errorf("unknown status: %v, want malformed", err)
	}
}

func TestFrame_KeepsBoundaries(t *testing.T) {
	var wire []byte
	want := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("b"), connwire.MaxDatagramBytes), []byte("c")}
	for _, p := range want {
		var err error
		if wire, err = connwire.AppendFrame(wire, p); err != nil {
			t.Fatal(err)
		}
	}
	r := bytes.NewReader(wire)
	var buf []byte
	for i, p := range want {
		var err error
		if buf, err = connwire.ReadFrame(r, buf); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf, p) {
			t.Errorf("frame %d has %d bytes, want %d", i, len(buf), len(p))
		}
	}
	if _, err := connwire.ReadFrame(r, buf); err != io.EOF { //nolint:errorlint // the bare end is the contract
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	if _, err := connwire.ReadFrame(bytes.NewReader([]byte{0, 5, 'x'}), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut frame: %v", err)
	}
	if _, err := connwire.AppendFrame(nil, make([]byte, connwire.MaxDatagramBytes+1)); !errors.Is(err, connwire.ErrMalformed) {
		t.Errorf("oversized: %v", err)
	}
}

// sendRecorder keeps what CopyDatagrams sends.
type sendRecorder struct{ sizes []int }

func (s *sendRecorder) Send(b []byte) error {
	s.sizes = append(s.sizes, len(b))
	return nil
}

// packets is a reader that returns one datagram a call and cuts it to the buffer, as a UDP socket does.
type packets struct{ sizes []int }

func (p *packets) Read(b []byte) (int, error) {
	if len(p.sizes) == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.sizes[0])
	p.sizes = p.sizes[1:]
	return n, nil
}

func TestCopyDatagrams_DropsTheFirstLargeOneThenGrows(t *testing.T) {
	var sent sendRecorder
	total := 0
	err := connwire.CopyDatagrams(&sent, &packets{[]int{1, 4095, 9000, 9000, 65535, 1}}, func(n int) { total += n })
	if !errors.Is(err, io.EOF) {
		t.Errorf("err %v", err)
	}
	want := []int{1, 4095, 9000, 65535, 1}
	if diff := cmp.Diff(want, sent.sizes); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	if total != 1+4095+9000+65535+1 {
		t.Errorf("counted %d bytes", total)
	}
}
