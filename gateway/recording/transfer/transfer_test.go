package transfer_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/gateway/recording/transfer"
)

func TestMain(m *testing.M) {
	if os.Getenv(logEnv) != "" {
		relayChild()
		return
	}
	os.Exit(m.Run())
}

// pkt is an sftp packet of a type and fields: byte slices and strings with a length, numbers as they are.
func pkt(typ byte, fields ...any) []byte {
	b := []byte{typ}
	for _, f := range fields {
		switch v := f.(type) {
		case string:
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
			b = append(b, v...)
		case []byte:
			b = append(b, v...)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, v)
		}
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// step is a packet and who sent it.
type step struct {
	client bool
	b      []byte
}

func up(b []byte) step   { return step{true, b} }
func down(b []byte) step { return step{false, b} }

const (
	id1, id2, id3 uint32 = 1, 2, 3
	none          uint32 = 0
)

func status(id, code uint32) []byte { return pkt(101, id, code, "text", "en") }

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func run(steps []step, size int, hashes bool) []transfer.Operation {
	var got []transfer.Operation
	p := transfer.New(true, "sftp", hashes, func(o transfer.Operation) { got = append(got, o) })
	for _, s := range steps {
		for b := s.b; len(b) > 0; b = b[min(size, len(b)):] {
			piece := b[:min(size, len(b))]
			if s.client {
				p.FromClient(piece)
			} else {
				p.FromTarget(piece)
			}
		}
	}
	p.Close()
	return got
}

func TestSFTP(t *testing.T) {
	t.Parallel()
	open := []step{up(pkt(3, id1, "/etc/motd", uint32(1), none)), down(pkt(102, id1, "h"))}
	create := []step{up(pkt(3, id1, "/tmp/x", uint32(2|8|16), none)), down(pkt(102, id1, "h"))}
	closed := []step{up(pkt(4, id3, "h")), down(status(id3, 0))}
	join := func(s ...[]step) []step {
		var out []step
		for _, x := range s {
			out = append(out, x...)
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  []transfer.Operation
	}{
		{
			"read",
			join(open, []step{up(pkt(5, id2, "h", uint64(0), uint32(100))), down(pkt(103, id2, "hello"))}, closed),
			[]transfer.Operation{{Name: "read", Path: "/etc/motd", Flags: "read", Bytes: 5, Result: "ok", SHA256: sum("hello")}},
		},
		{
			"write in two pieces",
			join(create, []step{
				up(pkt(6, id2, "h", uint64(0), "hel")), down(status(id2, 0)), up(pkt(6, id2, "h", uint64(3), "lo")), down(status(id2, 0)),
			}, closed),
			[]transfer.Operation{{Name: "write", Path: "/tmp/x", Flags: "write,create,truncate", Bytes: 5, Result: "ok", SHA256: sum("hello")}},
		},
		{
			"written out of order: no hash",
			join(create, []step{up(pkt(6, id2, "h", uint64(3), "lo")), down(status(id2, 0)), up(pkt(6, id2, "h", uint64(0), "hel")), down(status(id2, 0))}, closed),
			[]transfer.Operation{{Name: "write", Path: "/tmp/x", Flags: "write,create,truncate", Bytes: 5, Result: "ok"}},
		},
		{
			"disk full at the target",
			join(create, []step{up(pkt(6, id2, "h", uint64(0), "hello")), down(status(id2, 4))}, closed),
			[]transfer.Operation{{Name: "write", Path: "/tmp/x", Flags: "write,create,truncate", Bytes: 5, Result: "failure"}},
		},
		{
			"not permitted",
			[]step{up(pkt(3, id1, "/etc/shadow", uint32(1), none)), down(status(id1, 3))},
			[]transfer.Operation{{Name: "open", Path: "/etc/shadow", Flags: "read", Bytes: -1, Result: "permission denied"}},
		},
		{
			"remove, rename, make and remove directories, links, modes",
			[]step{
				up(pkt(13, id1, "/a")), down(status(id1, 0)), up(pkt(18, id1, "/a", "/b")), down(status(id1, 0)),
				up(pkt(200, id1, "posix-rename@openssh.com", "/a", "/c")), down(status(id1, 2)),
				up(pkt(14, id1, "/d", none)), down(status(id1, 0)), up(pkt(15, id1, "/d")), down(status(id1, 0)),
				up(pkt(20, id1, "/target", "/link")), down(status(id1, 0)),
				up(pkt(9, id1, "/a", uint32(4), uint32(0o100600))), down(status(id1, 0)),
			},
			[]transfer.Operation{
				{Name: "remove", Path: "/a", Bytes: -1, Result: "ok"},
				{Name: "rename", Path: "/a", NewPath: "/b", Bytes: -1, Result: "ok"},
				{Name: "rename", Path: "/a", NewPath: "/c", Bytes: -1, Result: "no such file"},
				{Name: "mkdir", Path: "/d", Bytes: -1, Result: "ok"},
				{Name: "rmdir", Path: "/d", Bytes: -1, Result: "ok"},
				{Name: "symlink", Path: "/target", NewPath: "/link", Bytes: -1, Result: "ok"},
				{Name: "setstat", Path: "/a", Flags: "mode=600", Bytes: -1, Result: "ok"},
			},
		},
		{
			"listing",
			[]step{up(pkt(11, id1, "/etc")), down(pkt(102, id1, "d")), up(pkt(12, id2, "d")), down(pkt(104, id2, none)), up(pkt(4, id3, "d")), down(status(id3, 0))},
			[]transfer.Operation{{Name: "list", Path: "/etc", Bytes: -1, Result: "ok"}},
		},
		{
			"cut in the middle",
			join(create, []step{up(pkt(6, id2, "h", uint64(0), "hello"))}),
			[]transfer.Operation{{Name: "write", Path: "/tmp/x", Flags: "write,create,truncate", Bytes: 5, SHA256: sum("hello")}},
		},
		{
			"a request with a tail hides nothing",
			[]step{up(pkt(13, id1, "/a", make([]byte, 100<<10))), down(status(id1, 0))},
			[]transfer.Operation{{Name: "remove", Path: "/a", Bytes: -1, Result: "ok"}},
		},
		{
			"another version",
			[]step{up(pkt(1, uint32(6))), down(pkt(2, uint32(6))), up(pkt(13, id1, "/a"))},
			[]transfer.Operation{{Name: "unparsed", Bytes: -1, Problem: "version 6 of the protocol"}},
		},
		{
			"nonsense",
			[]step{up([]byte("GET / HTTP/1.1\r\n\r\n"))},
			[]transfer.Operation{{Name: "unparsed", Bytes: -1, Problem: "a packet of 1195725856 bytes"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for i := range tt.want {
				tt.want[i].Protocol = "sftp"
			}
			for _, size := range []int{1 << 20, 7, 1} {
				if d := cmp.Diff(tt.want, run(tt.steps, size, true)); d != "" {
					t.Errorf("in pieces of %d: %s", size, d)
				}
			}
			for i := range tt.want {
				tt.want[i].SHA256 = ""
			}
			if d := cmp.Diff(tt.want, run(tt.steps, 1<<20, false)); d != "" {
				t.Errorf("without hashes: %s", d)
			}
		})
	}
}

// Requests without answers, and files without end, cost a bounded amount and are still told.
func TestSFTP_Limits(t *testing.T) {
	t.Parallel()
	removed, opened := 0, 0
	p := transfer.New(true, "sftp", true, func(o transfer.Operation) {
		switch o.Name {
		case "remove":
			removed++
		case "open", "read":
			opened++
		default:
			t.Errorf("told %+v", o)
		}
	})
	for i := range uint32(5000) {
		p.FromClient(pkt(13, i, "/a"))
	}
	for i := range uint32(5000) {
		p.FromTarget(status(i, 0))
	}
	if removed != 5000 {
		t.Errorf("%d of 5000 removals were told", removed)
	}
	for i := range uint32(2000) {
		p.FromClient(pkt(3, i, "/f", uint32(1), none))
		p.FromTarget(pkt(102, i, string(binary.BigEndian.AppendUint32(nil, i))))
	}
	p.Close()
	if opened != 2000 {
		t.Errorf("%d of 2000 files were told", opened)
	}
}

func TestSCP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, command, sent string
		upload              bool
		want                []transfer.Operation
	}{
		{
			"upload", "scp -t /tmp", "C0644 5 a.txt\nhello\x00", true,
			[]transfer.Operation{{Name: "write", Path: "a.txt", Flags: "mode=0644", Bytes: 5, Result: "ok"}},
		},
		{
			"download of a tree", "/usr/bin/scp -r -p -f src", "T1 0 1 0\nD0755 0 src\nC0600 2 b\nhi\x00E\nC0600 0 c d\n\x00", false,
			[]transfer.Operation{
				{Name: "directory", Path: "src", Flags: "mode=0755", Bytes: -1, Result: "ok"},
				{Name: "read", Path: "src/b", Flags: "mode=0600", Bytes: 2, Result: "ok"},
				{Name: "read", Path: "c d", Flags: "mode=0600", Bytes: 0, Result: "ok"},
			},
		},
		{
			"incomplete", "scp -t .", "C0644 10 a\nabc", true,
			[]transfer.Operation{{Name: "write", Path: "a", Flags: "mode=0644", Bytes: 3, Result: "incomplete"}},
		},
		{
			"error of the sender", "scp -f x", "\x01scp: x: No such file\n", false,
			[]transfer.Operation{{Name: "read", Bytes: -1, Result: "scp: x: No such file"}},
		},
		{
			"nonsense", "scp -t .", "hello\n", true,
			[]transfer.Operation{{Name: "unparsed", Bytes: -1, Problem: "an unknown control line"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1 << 20, 1} {
				var got []transfer.Operation
				p := transfer.New(false, tt.command, true, func(o transfer.Operation) { got = append(got, o) })
				for b := []byte(tt.sent); len(b) > 0; b = b[min(size, len(b)):] {
					if tt.upload {
						p.FromClient(b[:min(size, len(b))])
					} else {
						p.FromTarget(b[:min(size, len(b))])
					}
				}
				p.Close()
				want := append([]transfer.Operation(nil), tt.want...)
				for i := range want {
					want[i].Protocol = "scp"
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestNew_KnowsTransfers(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]bool{
		"": false, "ls": false, "scp": false, "scp a b": false, "scp -t x": true, "/usr/lib/openssh/sftp-server": true,
		"cat sftp-server": false, "scp -f x; cat /etc/shadow": false, "sftp-server | sh": false, "scp -t $(id)": false,
	} {
		if got := transfer.New(false, command, false, func(transfer.Operation) {}) != nil; got != want {
			t.Errorf("%q: %v, want %v", command, got, want)
		}
	}
}

func FuzzSFTP(f *testing.F) {
	var seed []byte
	for _, b := range [][]byte{
		pkt(1, uint32(3)), pkt(3, id1, "/f", uint32(2), none), pkt(6, id2, "h", uint64(0), "hello"), pkt(4, id3, "h"), pkt(13, id1, "/a"),
		pkt(200, id1, "copy-data", "h", uint64(0), uint64(5), "h", uint64(9)),
	} {
		seed = append(seed, b...)
	}
	f.Add(seed, append(append(pkt(2, uint32(3)), pkt(102, id1, "h")...), status(id3, 0)...), uint8(5))
	f.Add([]byte("\x00\x00\x00\x09\x06\x00\x00\x00\x01\xff\xff\xff\xff"), pkt(103, id1, "x"), uint8(1))
	f.Fuzz(func(_ *testing.T, client, target []byte, size uint8) {
		p := transfer.New(true, "sftp", true, func(transfer.Operation) {})
		n := int(size) + 1
		for len(client) > 0 || len(target) > 0 {
			p.FromClient(client[:min(n, len(client))])
			client = client[min(n, len(client)):]
			p.FromTarget(target[:min(n, len(target))])
			target = target[min(n, len(target)):]
		}
		p.Close()
	})
}

func FuzzSCP(f *testing.F) {
	f.Add([]byte("C0644 5 a.txt\nhello\x00"))
	f.Add([]byte("D0755 0 d\nT1 0 1 0\nC0600 0 x\n\x00E\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := transfer.New(false, "scp -t .", false, func(o transfer.Operation) {
			if o.Bytes < -1 || strings.ContainsRune(o.Path, '\n') {
				t.Errorf("operation %+v", o)
			}
		})
		p.FromClient(b)
		p.Close()
	})
}
