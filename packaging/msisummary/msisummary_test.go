package msisummary_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"weft/packaging/msisummary"
)

const code = "{11111111-2222-8333-8444-555555555555}"

// summary is a property set with a title, a package code and two times, with other bytes around it.
func summary(at uint64, code string) []byte {
	le := binary.LittleEndian
	formatID := []byte{0xe0, 0x85, 0x9f, 0xf2, 0xf9, 0x4f, 0x68, 0x10, 0xab, 0x91, 0x08, 0x00, 0x2b, 0x27, 0xb3, 0xd9}
	head := le.AppendUint16(nil, 0xfffe)
	head = append(head, make([]byte, 22)...)
	head = le.AppendUint32(head, 1)
	head = le.AppendUint32(append(head, formatID...), 48)
	text := func(s string) []byte {
		b := le.AppendUint32(le.AppendUint32(nil, 0x1e), uint32(len(s)+1))
		return append(append(b, s...), 0, 0)
	}
	moment := le.AppendUint64(le.AppendUint32(nil, 0x40), at)
	var index, values []byte
	for _, p := range []struct {
		id    uint32
		value []byte
	}{{2, text("a title")}, {9, text(code)}, {12, moment}, {13, moment}} {
		index = le.AppendUint32(le.AppendUint32(index, p.id), uint32(8+4*8+len(values)))
		values = append(values, p.value...)
	}
	section := le.AppendUint32(le.AppendUint32(nil, uint32(8+len(index)+len(values))), 4)
	out := append(bytes.Repeat([]byte{7}, 100), head...)
	return append(append(append(append(out, section...), index...), values...), 7, 7, 7)
}

func TestFix(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	b := summary(1, "{A0E93AE4-1A4A-4F2A-BC19-A4195956FC65}")
	if err := msisummary.Fix(b, at, code); err != nil {
		t.Fatal(err)
	}
	// 134083728000000000 is that day in units of 100 ns since 1601.
	if want := summary(uint64(at.Unix()+11644473600)*10_000_000, code); !bytes.Equal(b, want) {
		t.Errorf("fixed to %x, want %x", b, want)
	}
}

func TestFix_RefusesWhatItDoesNotKnow(t *testing.T) {
	good := summary(1, code)
	twice := append(bytes.Clone(good), good...)
	short := summary(1, "{short}")
	for name, b := range map[string][]byte{
		"nothing": nil, "no summary": make([]byte, 1000), "two summaries": twice, "cut": good[:160], "another length": short,
	} {
		if err := msisummary.Fix(b, time.Unix(0, 0), code); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzFix(f *testing.F) {
	f.Add(summary(1, code))
	f.Add(summary(1, "{short}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := len(b)
		if err := msisummary.Fix(b, time.Unix(1_700_000_000, 0), code); err == nil && len(b) != n {
			t.Error("the length changed")
		}
	})
}
