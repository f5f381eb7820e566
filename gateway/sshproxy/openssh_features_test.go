//go:build unix

package sshproxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// underRace says that the race detector is on.
var underRace bool

// TestOpenSSH_RekeyLong: keys change many times in a transfer of 256 MiB in each direction, or of WEFT_SSH_REKEY_MIB, which 5120 makes
// the 5 GiB that are worth a try before a release.
func TestOpenSSH_RekeyLong(t *testing.T) {
	size, limit := int64(256<<20), "16M"
	if testing.Short() || underRace { // the detector has nothing to find in the fourth repetition
		size = 64 << 20
	}
	if mib := os.Getenv("WEFT_SSH_REKEY_MIB"); mib != "" {
		n, err := strconv.ParseInt(mib, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		size, limit = n<<20, "256M"
	}
	o := newOpenSSH(t, "RekeyLimit "+limit)
	want := patternSum(size)
	produce := fmt.Sprintf("yes 0123456789abcde | head -c %d", size)
	t.Run("down", func(t *testing.T) {
		sum := sha256.New()
		n := o.stream(t, nil, sum, "-o", "RekeyLimit="+limit, "weft", produce)
		if got := hex.EncodeToString(sum.Sum(nil)); n != size || got != want {
			t.Errorf("%d bytes with %s, want %d with %s", n, got, size, want)
		}
	})
	t.Run("up", func(t *testing.T) {
		var out bytes.Buffer
		o.stream(t, io.LimitReader(pattern{new(int)}, size), &out, "-o", "RekeyLimit="+limit, "weft", "sha256sum")
		if got := strings.Fields(out.String()); len(got) == 0 || got[0] != want {
			t.Errorf("%q, want %s", out.String(), want)
		}
	})
}

// pattern is what "yes 0123456789abcde" prints.
type pattern struct{ at *int }

func (p pattern) Read(b []byte) (int, error) {
	const line = "0123456789abcde\n"
	for i := range b {
		b[i] = line[*p.at%len(line)]
		*p.at++
	}
	return len(b), nil
}

func patternSum(size int64) string {
	sum := sha256.New()
	_, _ = io.Copy(sum, io.LimitReader(pattern{new(int)}, size)) // neither fails
	return hex.EncodeToString(sum.Sum(nil))
}

// stream runs ssh with streams instead of texts, and returns how many bytes it printed.
func (o *openssh) stream(t *testing.T, in io.Reader, out io.Writer, args ...string) int64 {
	t.Helper()
	o.publish()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", append([]string{"-F", filepath.Join(o.dir, "config")}, args...)...)
	cmd.WaitDelay = patience
	cmd.Stdin = in
	count := &countWriter{w: out}
	var errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = count, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	return count.n
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// A client that asks whether we are there gets its answers, for as long as it likes, and one that sends variables has those of the
// list set.
func TestOpenSSH_KeepaliveAndEnvironment(t *testing.T) {
	o := newOpenSSH(t, "ClientAliveInterval 1", "ClientAliveCountMax 2")
	r := o.ssh("", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2", "weft", "sleep 4; echo alive")
	r.want(t, "keepalive", 0, "alive\n")
	r = o.ssh("", "-o", "SetEnv=GIT_PROTOCOL=version=2 NO_COLOR=1 BASH_ENV=/tmp/x LC_WEFT=passed", "weft", "echo $GIT_PROTOCOL $NO_COLOR [$BASH_ENV] $LC_WEFT")
	r.want(t, "environment", 0, "version=2 1 [] passed\n")
}

// The escape ~B sends a break, and ~. ends the connection, on a terminal.
func TestOpenSSH_Escapes(t *testing.T) {
	needTerminals(t)
	o := newOpenSSH(t)
	c := o.terminal(t, "trap 'echo hung up; exit 3' HUP; echo ready; cat")
	c.expect(t, "ready")
	for _, keys := range []string{"\r~B", "typed\r"} {
		if _, err := c.f.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
	c.expect(t, "~B\r\n") // the client says what it did
	eventually(t, "the program lives on", func() bool { return strings.Count(c.out.String(), "typed") == 2 })
	if _, err := c.f.WriteString("\r~."); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err == nil {
		t.Error("it ended well")
	}
	if r := o.result(); r.Err != nil {
		t.Errorf("%+v", r)
	}
}
