package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/cli"
)

// process runs warp-cli inside the test, with a pipe as stdin.
type process struct {
	stdin  *os.File // the test's end
	stdout *os.File // the test's end
	stderr bytes.Buffer
	code   chan int
}

// noLeaks fails a test that leaves goroutines behind, after everything else was cleaned up.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
}

func start(tb testing.TB, ctx context.Context, args ...string) *process {
	tb.Helper()
	inR, inW, err1 := os.Pipe()
	outR, outW, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		tb.Fatal(err)
	}
	p := &process{stdin: inW, stdout: outR, code: make(chan int, 1)}
	tb.Cleanup(func() {
		for _, f := range []*os.File{inR, inW, outR, outW} {
			_ = f.Close() // closed before by whoever was done with it
		}
	})
	go func() {
		p.code <- cli.Main(ctx, cli.Config{
			Args: args, Stdin: inR, Stdout: outW, Stderr: &p.stderr,
			Getenv: func(string) string { return "" }, Version: "test",
		})
		_ = outW.Close()
	}()
	return p
}

func (p *process) wait(tb testing.TB) int {
	tb.Helper()
	select {
	case code := <-p.code:
		return code
	case <-time.After(20 * time.Second):
		tb.Fatal("warp-cli did not end")
		return -1
	}
}

// The target's end of output reaches our reader while our input is open, and input still flows after it.
func TestNC_HalfCloseByTarget(t *testing.T) {
	noLeaks(t)
	socket := startAgent(t, seedWorld(t))
	p := start(t, t.Context(), "--socket", socket, "nc", "x", "13")
	out, err := io.ReadAll(p.stdout) // ends only when nc closes its stdout
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != "bye\n" {
		t.Errorf("output %q", out)
	}
	select {
	case code := <-p.code:
		t.Errorf("nc ended with %d while its input was open", code)
	default:
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
}

// Our end of input reaches the target, whose answer still comes back.
func TestNC_HalfCloseByUs(t *testing.T) {
	noLeaks(t)
	socket := startAgent(t, seedWorld(t))
	p := start(t, t.Context(), "--socket", socket, "nc", "x", "9")
	if _, err := io.WriteString(p.stdin, "12345"); err != nil {
		t.Fatal(err)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != "5 bytes\n" {
		t.Errorf("output %q", out)
	}
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
}

func TestNC_LargeTransfers(t *testing.T) {
	noLeaks(t)
	socket := startAgent(t, seedWorld(t))
	t.Run("up", func(t *testing.T) {
		p := start(t, t.Context(), "--socket", socket, "nc", "x", "9")
		if _, err := io.Copy(p.stdin, io.LimitReader(pattern{}, bulk)); err != nil {
			t.Fatal(err)
		}
		_ = p.stdin.Close()
		if out, err := io.ReadAll(p.stdout); err != nil || string(out) != "67108864 bytes\n" {
			t.Errorf("output %q, %v", out, err)
		}
		if code := p.wait(t); code != 0 {
			t.Errorf("exit code %d: %s", code, &p.stderr)
		}
	})
	t.Run("down", func(t *testing.T) {
		p := start(t, t.Context(), "--socket", socket, "nc", "x", "19")
		_ = p.stdin.Close()
		if n, err := io.Copy(checkPattern{t}, p.stdout); err != nil || n != bulk {
			t.Errorf("received %d bytes, %v; want %d", n, err, bulk)
		}
		if code := p.wait(t); code != 0 {
			t.Errorf("exit code %d: %s", code, &p.stderr)
		}
	})
	t.Run("both ways at once", func(t *testing.T) {
		p := start(t, t.Context(), "--socket", socket, "nc", "x", "7")
		sent := make(chan error, 1)
		go func() {
			_, err := io.Copy(p.stdin, io.LimitReader(pattern{}, bulk))
			sent <- errors.Join(err, p.stdin.Close())
		}()
		if n, err := io.Copy(checkPattern{t}, p.stdout); err != nil || n != bulk {
			t.Errorf("received %d bytes, %v; want %d", n, err, bulk)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if code := p.wait(t); code != 0 {
			t.Errorf("exit code %d: %s", code, &p.stderr)
		}
	})
}

// checkPattern fails the test for a byte that pattern did not send.
type checkPattern struct{ tb testing.TB }

func (c checkPattern) Write(p []byte) (int, error) {
	if n := bytes.Count(p, []byte{'x'}); n != len(p) {
		c.tb.Errorf("%d foreign bytes", len(p)-n)
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestNC_Interrupted(t *testing.T) {
	noLeaks(t)
	socket := startAgent(t, seedWorld(t))
	ctx, cancel := context.WithCancel(t.Context())
	p := start(t, ctx, "--socket", socket, "nc", "x", "2222")
	line := make([]byte, len("hello from x\n"))
	if _, err := io.ReadFull(p.stdout, line); err != nil {
		t.Fatal(err)
	}
	cancel()
	if code := p.wait(t); code != 130 {
		t.Errorf("exit code %d, want 130: %s", code, &p.stderr)
	}
}

// After the target's end of output nc waits for our input, and an interrupt must end that too.
func TestNC_InterruptedAfterHalfClose(t *testing.T) {
	noLeaks(t)
	socket := startAgent(t, seedWorld(t))
	ctx, cancel := context.WithCancel(t.Context())
	p := start(t, ctx, "--socket", socket, "nc", "x", "13")
	if _, err := io.ReadAll(p.stdout); err != nil {
		t.Fatal(err)
	}
	cancel()
	if code := p.wait(t); code != 130 {
		t.Errorf("exit code %d, want 130: %s", code, &p.stderr)
	}
}

// A reader of ours that has gone is no success.
func TestNC_BrokenOutput(t *testing.T) {
	noLeaks(t)
	socket := startAgent(t, seedWorld(t))
	p := start(t, t.Context(), "--socket", socket, "nc", "x", "19")
	if err := p.stdout.Close(); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 14 {
		t.Errorf("exit code %d, want 14", code)
	}
	if !strings.Contains(p.stderr.String(), "Error: connection broken") {
		t.Errorf("stderr %q", &p.stderr)
	}
}
