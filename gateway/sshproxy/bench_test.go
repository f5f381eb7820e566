package sshproxy_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// discard counts; unlike io.Discard it is not read into by io.Copy's shortcut, so that both sides do the same.
type discard struct{ n int64 }

func (d *discard) Write(b []byte) (int, error) { d.n += int64(len(b)); return len(b), nil }

// BenchmarkBulk streams through the proxy and directly to the same host in turn, in one run; "ratio" is the time
// through the proxy divided by the direct time. All of client, proxy and host share the processors of this process.
func BenchmarkBulk(b *testing.B) {
	w := hostWorld(b)
	direct := directClient(b, w)
	const size = 64 << 20
	for _, dir := range []string{"down", "up"} {
		b.Run(dir, func(b *testing.B) {
			proxied := w.dial("root")
			var tProxied, tDirect time.Duration
			b.SetBytes(size)
			for b.Loop() {
				tProxied += transfer(b, proxied, dir, size)
				b.StopTimer()
				tDirect += transfer(b, direct, dir, size)
				b.StartTimer()
			}
			b.ReportMetric(float64(size)*float64(b.N)/tProxied.Seconds()/(1<<20), "MiB/s-proxied")
			b.ReportMetric(float64(size)*float64(b.N)/tDirect.Seconds()/(1<<20), "MiB/s-direct")
			b.ReportMetric(tProxied.Seconds()/tDirect.Seconds(), "ratio")
		})
	}
}

func directClient(b *testing.B, w *world) *ssh.Client {
	b.Helper()
	key := newSigner(b)
	signer, err := ssh.NewCertSigner(w.certificate(key.PublicKey(), "root"), key)
	if err != nil {
		b.Fatal(err)
	}
	cfg := w.clientConfig("root")
	cfg.HostKeyCallback = func(string, net.Addr, ssh.PublicKey) error { return nil }
	cfg.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	c, err := ssh.Dial("tcp", w.target, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

func transfer(b *testing.B, c *ssh.Client, dir string, size int64) time.Duration {
	b.Helper()
	s, err := c.NewSession()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	out := &discard{}
	s.Stdout = out
	start := time.Now()
	if dir == "down" {
		if err := s.Run(fmt.Sprintf("stream %d", size)); err != nil || out.n != size {
			b.Fatalf("%d bytes, %v", out.n, err)
		}
		return time.Since(start)
	}
	s.Stdin = io.LimitReader(zeros{}, size)
	if err := s.Run("wc"); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// BenchmarkLogin is from dialling to the first byte of a command's output.
func BenchmarkLogin(b *testing.B) {
	w := hostWorld(b)
	for b.Loop() {
		c, err := ssh.Dial("tcp", w.addr, w.clientConfig("root"))
		if err != nil {
			b.Fatal(err)
		}
		s, err := c.NewSession()
		if err != nil {
			b.Fatal(err)
		}
		if out, err := s.Output("hostname"); err != nil || string(out) != "host-a\n" {
			b.Fatalf("%q, %v", out, err)
		}
		_ = c.Close()
		<-w.results
	}
}
