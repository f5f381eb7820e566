package connwire_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/internal/connwire"
)

// What is read must be what would have been written: there is one spelling of each message.
func FuzzReadRequest(f *testing.F) {
	b, err := request.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte{})
	f.Add([]byte{1, 6, 0, 0, 0, 1, 1, 'v', 16})
	f.Add([]byte{1, 17, 0xff, 0xff, 0xff, 0xff, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		q, err := connwire.ReadRequest(r)
		if err != nil {
			return
		}
		out, err := q.Append(nil)
		if err != nil {
			t.Fatalf("%+v was read but cannot be written: %v", q, err)
		}
		if used := in[:len(in)-r.Len()]; !bytes.Equal(out, used) {
			t.Fatalf("read % x, written % x", used, out)
		}
	})
}

func FuzzReadHello(f *testing.F) {
	b, err := connwire.Hello{TunnelID: "t", ConnectorID: "c"}.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{1, 0, 0, 0})
	f.Add([]byte{1, 65})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := connwire.ReadHello(r)
		if err != nil {
			return
		}
		out, err := h.Append(nil)
		if err != nil {
			t.Fatalf("%+v was read but cannot be written: %v", h, err)
		}
		if used := in[:len(in)-r.Len()]; !bytes.Equal(out, used) {
			t.Fatalf("read % x, written % x", used, out)
		}
	})
}

func FuzzReadVerdict(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add([]byte{1, 3, 'a', 'b'})
	f.Add([]byte{9, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := connwire.ReadVerdict(bytes.NewReader(in))
		if err != nil {
			return
		}
		if out := v.Append(nil); !bytes.HasPrefix(in, out) {
			t.Fatalf("read % x, written % x", in, out)
		}
	})
}

func FuzzParseDatagram(f *testing.F) {
	f.Add(connwire.AppendDatagram(nil, 4, []byte("hello")))
	f.Add(connwire.AppendDatagram(nil, 1<<40, nil))
	f.Add([]byte{})
	f.Add([]byte{0xc0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		id, payload, err := connwire.ParseDatagram(in)
		if err != nil {
			return
		}
		again, p2, err := connwire.ParseDatagram(connwire.AppendDatagram(nil, id, payload))
		if err != nil || again != id || !bytes.Equal(payload, p2) {
			t.Fatalf("id %d came back as %d: %v", id, again, err)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x'})
	f.Add([]byte{0xff, 0xff, 'x'})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		var frames, buf []byte
		for {
			var err error
			if buf, err = connwire.ReadFrame(r, buf); err != nil {
				break
			}
			if frames, err = connwire.AppendFrame(frames, buf); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(in, frames) {
			t.Fatal(cmp.Diff(in, frames))
		}
	})
}
