package transfer_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/gateway/recording/transfer"
)

const (
	logEnv     = "WEFT_TRANSFER_TEST_LOG"
	sftpServer = "/usr/lib/openssh/sftp-server"
)

// relayChild stands between sftp and its server and writes down what goes by, in order.
func relayChild() {
	out, err := os.Create(os.Getenv(logEnv))
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	note := func(who byte, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		head := binary.BigEndian.AppendUint32([]byte{who}, uint32(len(b)))
		if _, err := out.Write(append(head, b...)); err != nil {
			panic(err)
		}
	}
	cmd := exec.Command(sftpServer) // it ends with the test's sftp, whose child this is
	in, err := cmd.StdinPipe()
	if err != nil {
		panic(err)
	}
	cmd.Stdout = noter{os.Stdout, func(b []byte) { note('T', b) }}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	go func() {
		_, _ = io.Copy(noter{in, func(b []byte) { note('C', b) }}, os.Stdin)
		_ = in.Close()
	}()
	_ = cmd.Wait()
}

type noter struct {
	w    io.Writer
	note func([]byte)
}

func (n noter) Write(b []byte) (int, error) {
	n.note(b)
	return n.w.Write(b)
}

// The operations of OpenSSH's own sftp, against its own server.
func TestSFTP_OpenSSH(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(sftpServer); err != nil {
		t.Skip("no sftp-server here")
	}
	path, err := exec.LookPath("sftp")
	if err != nil {
		t.Skip("sftp is not installed")
	}
	dir := t.TempDir()
	content := bytes.Repeat([]byte("0123456789abcdef"), 50000) // 800 kB: many requests at once
	for _, f := range []string{"local", "remote"} {
		if err := os.WriteFile(filepath.Join(dir, f), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "log")
	cmd := exec.CommandContext(t.Context(), path, "-q", "-b", "-", "-D", os.Args[0])
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), logEnv+"="+log)
	cmd.Stdin = strings.NewReader("put local up\nget remote down\nmkdir d\nrename up d/moved\nchmod 640 d/moved\nln -s d/moved s\nrm s\nrm d/moved\nrmdir d\n-rm nothing\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sftp: %v: %s", err, out)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var got []transfer.Operation
	p := transfer.New(true, "sftp", true, func(o transfer.Operation) {
		o.Path, o.NewPath = strings.TrimPrefix(o.Path, dir+"/"), strings.TrimPrefix(o.NewPath, dir+"/")
		if o.Name == "setstat" && strings.HasPrefix(o.Flags, "mode=6") && o.Path == "up" { // put sets the mode of the file, by some versions
			return
		}
		got = append(got, o)
	})
	for len(b) >= 5 {
		n := 5 + int(binary.BigEndian.Uint32(b[1:]))
		if b[0] == 'C' {
			p.FromClient(b[5:n])
		} else {
			p.FromTarget(b[5:n])
		}
		b = b[n:]
	}
	p.Close()
	size, hash := int64(len(content)), sum(string(content))
	want := []transfer.Operation{
		{Name: "write", Path: "up", Flags: "write,create,truncate", Bytes: size, Result: "ok", SHA256: hash},
		{Name: "read", Path: "remote", Flags: "read", Bytes: size, Result: "ok", SHA256: hash},
		{Name: "mkdir", Path: "d", Bytes: -1, Result: "ok"},
		{Name: "rename", Path: "up", NewPath: "d/moved", Bytes: -1, Result: "ok"},
		{Name: "setstat", Path: "d/moved", Flags: "mode=640", Bytes: -1, Result: "ok"},
		{Name: "symlink", Path: "d/moved", NewPath: "s", Bytes: -1, Result: "ok"},
		{Name: "remove", Path: "s", Bytes: -1, Result: "ok"},
		{Name: "remove", Path: "d/moved", Bytes: -1, Result: "ok"},
		{Name: "rmdir", Path: "d", Bytes: -1, Result: "ok"},
		{Name: "remove", Path: "nothing", Bytes: -1, Result: "no such file"},
	}
	for i := range want {
		want[i].Protocol = "sftp"
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
