package connwire_test

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"weft/internal/connwire"
)

func TestSource(t *testing.T) {
	for _, tc := range []struct {
		name     string
		in, want netip.Addr
	}{
		{"IPv4", netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.0.7")},
		{"IPv6", netip.MustParseAddr("fd00::7"), netip.MustParseAddr("fd00::7")},
		{"a mapped one is the IPv4 address", netip.MustParseAddr("::ffff:10.0.0.7"), netip.MustParseAddr("10.0.0.7")},
		{"not known", netip.Addr{}, netip.Addr{}},
		{"one with a zone is not known", netip.MustParseAddr("fe80::1%eth0"), netip.Addr{}},
		{"the unspecified one is not known", netip.IPv4Unspecified(), netip.Addr{}},
		{"a multicast one is not known", netip.MustParseAddr("ff02::1"), netip.Addr{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := connwire.AppendSource(nil, tc.in)
			got, err := connwire.ReadSource(bytes.NewReader(b))
			if err != nil || got != tc.want {
				t.Errorf("read %v, %v", got, err)
			}
		})
	}
	for _, bad := range [][]byte{{5}, {255}, {4, 0, 0, 0, 0}, {4, 224, 0, 0, 1}, {16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}} {
		if a, err := connwire.ReadSource(bytes.NewReader(bad)); !errors.Is(err, connwire.ErrMalformed) {
			t.Errorf("% x is read as %v, %v", bad, a, err)
		}
	}
}

func FuzzReadSource(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{4, 10, 0, 0, 1})
	f.Add([]byte{16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{4, 10})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		a, err := connwire.ReadSource(r)
		if err != nil {
			return
		}
		if out, used := connwire.AppendSource(nil, a), in[:len(in)-r.Len()]; !bytes.Equal(out, used) {
			t.Fatalf("read % x, written % x", used, out)
		}
	})
}
