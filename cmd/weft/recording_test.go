//go:build unix

package main

import (
	"crypto/ed25519"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"weft/gateway/recording"
)

func TestRecordingScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/recording",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status":   expectStatus,
			"record":   recordSample,
			"flip":     flipByte,
			"terminal": onTerminal,
		},
	})
}

// recordSample implements "record DIR SESSION LOGIN [RECIPIENT]": records a shell session, and writes the public key to key.pub.
// LOGKEY is the key of ssh-log-cli that the account has.
func recordSample(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: record DIR SESSION LOGIN [RECIPIENT]")
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	cfg := recording.Config{Dir: ts.MkAbs(args[0]), Key: key, GatewayID: "gw-1"}
	if len(args) > 3 {
		id, err := age.GenerateX25519Identity()
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(id.String()+"\n"), 0o600))
		cfg.Recipients = []string{id.Recipient().String()}
	}
	r, err := recording.New(cfg)
	ts.Check(err)
	s, err := r.Start(recording.SessionConfig{LogKey: ts.Getenv("LOGKEY"), Subject: recording.Subject{
		SessionID: args[1], Email: "jdoe@company.com", UserID: "u1", Hostname: "web-1", TargetID: "t1", Login: args[2],
		ServerAddress: netip.MustParseAddrPort("10.20.0.5:22"), ClientAddress: netip.MustParseAddrPort("100.96.0.1:4000"),
	}})
	ts.Check(err)
	c := s.Channel(1, "session")
	c.PTY("xterm", 80, 24, nil)
	c.Start(recording.EventShell, "")
	c.Output([]byte("$ "))
	c.Input([]byte("cat secret.txt\r"))
	c.Output([]byte("cat secret.txt\r\nthe \x1b[31mneedle\x1b[0m\x1b]52;c;ZXZpbA==\x07 is here\r\n$ "))
	c.Exit(0)
	c.Close()
	sum, err := s.Close(recording.EndClosed, 1, 2)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("key.pub"), []byte(recording.FormatPublicKey(key.Public().(ed25519.PublicKey))), 0o600))
	ts.Setenv("HEAD", sum.Head)
	ts.Setenv("FILE", filepath.Join(cfg.Dir, filepath.FromSlash(sum.Name)))
}

// flipByte implements "flip FILE": alters a byte in the middle.
func flipByte(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// onTerminal implements "terminal TEXT KEYS FILE COMMAND...": runs the command on a terminal, sends the keys once it has shown the
// text, and puts all that it showed into the file.
func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: terminal TEXT KEYS FILE COMMAND...")
	}
	path, err := lookPath(ts.Getenv("PATH"), args[3])
	ts.Check(err)
	cmd := exec.Command(path, args[4:]...) // it ends by its keys, or is killed below
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "TERM=xterm", "HOME=" + ts.MkAbs(".")}
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 100, Rows: 30})
	ts.Check(err)
	var (
		mu  sync.Mutex
		out strings.Builder
	)
	done := make(chan struct{})
	shown := make(chan struct{}, 1)
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := f.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			out.Write(b[:n])
			if strings.Contains(out.String(), args[0]) {
				select {
				case shown <- struct{}{}:
				default:
				}
			}
			mu.Unlock()
		}
	}()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	select {
	case <-shown:
		_, err = f.WriteString(args[1])
		ts.Check(err)
	case <-done:
	case <-deadline.C:
		ts.Check(cmd.Process.Kill())
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	kill.Stop()
	<-done
	_ = f.Close()
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(out.String()), 0o600))
	if err != nil {
		ts.Fatalf("%v: %q", err, out.String())
	}
}

func lookPath(list, name string) (string, error) {
	for _, d := range filepath.SplitList(list) {
		p := filepath.Join(d, name)
		if st, err := os.Stat(p); err == nil && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", errors.New(name + " is not in PATH")
}
