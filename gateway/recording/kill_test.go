package recording_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/gateway/recording"
)

const (
	childEnv = "WEFT_RECORDING_TEST_DIR"
	keyEnv   = "WEFT_RECORDING_TEST_KEY"
)

// child records lines with the time on them until it is killed, and prints each after it was recorded.
func child() {
	seed, err := hex.DecodeString(os.Getenv(keyEnv))
	if err != nil {
		panic(err)
	}
	r, err := recording.New(recording.Config{Dir: os.Getenv(childEnv), Key: ed25519.NewKeyFromSeed(seed), GatewayID: "gw-1"})
	if err != nil {
		panic(err)
	}
	s, err := r.Start(recording.SessionConfig{Subject: subject("killed")})
	if err != nil {
		panic(err)
	}
	c := s.Channel(1, "session")
	c.PTY("xterm", 80, 24, nil)
	c.Start(recording.EventShell, "")
	tick := time.NewTicker(5 * time.Millisecond)
	for range tick.C {
		line := strconv.FormatInt(time.Now().UnixMicro(), 10)
		c.Output([]byte(line + "\r\n"))
		fmt.Println(line) //nolint:forbidigo // the child's output is how the test knows what was recorded
	}
}

// A gateway that is killed loses less than a second, and seals the rest at its next start.
func TestRecorder_Kill9(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), newKey(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir, keyEnv+"="+hex.EncodeToString(key.Seed()))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last int64
	lines := bufio.NewScanner(out)
	for begin := time.Now(); time.Since(begin) < 1500*time.Millisecond && lines.Scan(); {
		if last, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if last, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // it was killed
	part := filepath.Join(dir, time.Now().UTC().Format(time.DateOnly), "killed"+recording.Suffix+recording.PartSuffix)
	recorded := func(path string, want error) int64 {
		t.Helper()
		_, recs, err := records(t, open(t, path))
		if want != nil && !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
		text := strings.Fields(output(recs, 1))
		if len(text) == 0 {
			t.Fatal("nothing was recorded")
		}
		at, err := strconv.ParseInt(text[len(text)-1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if lost := time.Duration(last-recorded(part, nil)) * time.Microsecond; lost > time.Second {
		t.Errorf("the last %s are lost", lost)
	}
	// The next start finds a torn chunk too.
	f, err := os.OpenFile(part, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("D\x01\x00\x00 torn"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t, func(c *recording.Config) { c.Dir, c.Key = dir, key })
	run(t, r)
	eventually(t, "the recording is sealed", func() bool { return r.Stats().Sealed == 1 })
	whole := strings.TrimSuffix(part, recording.PartSuffix)
	rep, err := recording.Verify(open(t, whole), recording.VerifyConfig{Keys: []ed25519.PublicKey{r.PublicKey()}, Name: whole})
	if err != nil {
		t.Fatal(err)
	}
	if rep.End.Reason != recording.EndInterrupted || rep.End.Discarded == 0 {
		t.Errorf("end %+v", rep.End)
	}
	if lost := time.Duration(last-recorded(whole, nil)) * time.Microsecond; lost > time.Second {
		t.Errorf("the last %s are lost", lost)
	}
}

// run runs a Recorder to the end of the test.
func run(tb testing.TB, r *recording.Recorder) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
}

// eventually polls cond until it holds.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			tb.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}
