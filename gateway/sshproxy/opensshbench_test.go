//go:build linux

package sshproxy_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// BenchmarkOpenSSHBulk has OpenSSH's client read from sshd through the proxy and directly in turn, in one run.
// Both use AES-128-GCM: the proxy chooses it, and the direct client is told to, or it would use the dearer ChaCha20.
// cpu-ratio is the processor time per byte of this process (which is the proxy and little else) divided by that of sshd
// and its children when it serves directly; time-ratio is wall clock over wall clock.
func BenchmarkOpenSSHBulk(b *testing.B) {
	o := newOpenSSH(b)
	direct := o.directConfig(b)
	const size = 512 << 20
	command := fmt.Sprintf("head -c %d /dev/zero", size)
	var proxied, straight cost
	b.SetBytes(size)
	for b.Loop() {
		proxied.add(measure(b, selfCPU, filepath.Join(o.dir, "config"), command))
		b.StopTimer()
		straight.add(measure(b, func() time.Duration { return childrenCPU(b, o.sshdPID) }, direct, command))
		b.StartTimer()
	}
	b.ReportMetric(proxied.cpu.Seconds()/straight.cpu.Seconds(), "cpu-ratio")
	b.ReportMetric(proxied.wall.Seconds()/straight.wall.Seconds(), "time-ratio")
	b.ReportMetric(float64(size)*float64(b.N)/proxied.wall.Seconds()/(1<<20), "MiB/s-proxied")
	b.ReportMetric(float64(size)*float64(b.N)/straight.wall.Seconds()/(1<<20), "MiB/s-direct")
}

type cost struct{ cpu, wall time.Duration }

func (c *cost) add(o cost) { c.cpu += o.cpu; c.wall += o.wall }

func measure(b *testing.B, cpu func() time.Duration, config, command string) cost {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-F", config, "weft", command)
	// A pipe that is read here would count for the proxy, so the client's output goes to a file that keeps nothing.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	cmd.Stdout = null
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	cpuBefore, start := cpu(), time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("ssh: %v: %s", err, errOut.String())
	}
	wall := time.Since(start)
	return cost{cpu: cpu() - cpuBefore, wall: wall}
}

func selfCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// childrenCPU is what the ended children of pid have used, in the kernel's ticks of 10 ms (proc(5), fields 16 and 17).
func childrenCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	settled := time.Duration(-1)
	eventually(b, "sshd has reaped its child", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 15 {
			b.Fatalf("stat %q", stat)
		}
		var ticks int64
		for _, f := range fields[13:15] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			ticks += n
		}
		now := time.Duration(ticks) * 10 * time.Millisecond
		done := now == settled && !hasChildren(pid)
		settled = now
		return done
	})
	return settled
}

func hasChildren(pid int) bool {
	kids, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	return err != nil || len(bytes.TrimSpace(kids)) > 0
}

// directConfig lets OpenSSH's client log in to the target itself, with a certificate of the same CA.
func (o *openssh) directConfig(b *testing.B) string {
	b.Helper()
	id := filepath.Join(o.dir, "direct")
	writeHostKey(b, id)
	pem, err := os.ReadFile(id)
	if err != nil {
		b.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		b.Fatal(err)
	}
	cert := o.certificate(key.PublicKey(), currentUser())
	writeFile(b, id+"-cert.pub", ssh.MarshalAuthorizedKey(cert))
	host, port, _ := strings.Cut(o.target, ":")
	cfg := fmt.Sprintf("Host weft\n  HostName %s\n  Port %s\n  User %s\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"+
		"  Ciphers aes128-gcm@openssh.com\n  LogLevel ERROR\n  IdentityFile %s\n  IdentitiesOnly yes\n", host, port, currentUser(), id)
	path := filepath.Join(o.dir, "direct_config")
	writeFile(b, path, []byte(cfg))
	return path
}
