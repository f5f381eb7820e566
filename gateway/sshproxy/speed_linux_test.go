package sshproxy_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/gateway/recording"
)

// What the proxy is to reach; a benchmark that does not, fails.
const (
	aimCPU       = 2.2                   // processor time per byte of the gateway, to that of sshd which serves directly
	aimRate      = 0.5                   // throughput, to that of the direct connection
	aimRecording = 1.1                   // processor time with recording, to that without
	aimLogin     = 15 * time.Millisecond // more than directly, from TCP's open to the first byte of a prompt
	aimIdleBytes = 64 << 10              // of heap, for one idle recorded session
	aimLogins    = 200                   // a second, on two processors
)

// miss fails a benchmark that does not reach an aim.
func miss(b *testing.B, missed bool, format string, args ...any) {
	b.Helper()
	if missed {
		b.Errorf("misses its aim: "+format, args...)
	}
}

// BenchmarkSpeedBulk has OpenSSH's clients fetch half a gibibyte by cat and by sftp: directly from sshd, through the proxy, and
// through the proxy with recording, in turn, in one run. All of them use AES-128-GCM. The processor time is that of
// this process, which is the proxy and little else, or of sshd and its children. Each is the least of five rounds: what else
// runs on the machine only adds, to processor time too, for it empties the caches.
func BenchmarkSpeedBulk(b *testing.B) {
	o := newOpenSSH(b)
	proxied := filepath.Join(o.dir, "config")
	c := record(b, o.world, func(c *recording.Config) { c.HashTransfers = false })
	const size = 512 << 20
	src := filepath.Join(o.dir, "src")
	if err := os.WriteFile(src, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(src, size); err != nil {
		b.Fatal(err)
	}
	sshd := func() time.Duration { return childrenCPU(b, o.sshdPID) }
	for _, tt := range []struct {
		name string
		args func(config string) []string
	}{
		{"cat", func(config string) []string { return []string{"ssh", "-F", config, "weft", "cat " + src} }},
		{"sftp", func(config string) []string {
			return []string{"sftp", "-q", "-F", config, "weft:" + src, os.DevNull}
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			needPrograms(b, "sftp")
			const rounds = 5
			var straight, off, on best
			b.SetBytes(size)
			for i := 0; i < rounds || b.Loop(); i++ {
				off.take(o.fetch(b, selfCPU, c, true, tt.args(proxied)))
				straight.take(o.fetch(b, sshd, nil, false, tt.args(o.directConfig(b)))) // its certificate lives for two minutes
				on.take(o.fetch(b, selfCPU, c, false, tt.args(proxied)))
			}
			cpu, rate := off.cpu.Seconds()/straight.cpu.Seconds(), straight.wall.Seconds()/off.wall.Seconds()
			recorded := on.cpu.Seconds() / off.cpu.Seconds()
			b.ReportMetric(cpu, "cpu-ratio")
			b.ReportMetric(rate, "throughput-ratio")
			b.ReportMetric(recorded, "recorded-cpu-ratio")
			const mib = float64(size) / (1 << 20)
			b.ReportMetric(mib/off.wall.Seconds(), "MiB/s-proxied")
			b.ReportMetric(mib/straight.wall.Seconds(), "MiB/s-direct")
			// A benchmark that fails prints no metrics.
			b.Logf("%s: %.2f of sshd's processor time, %.2f of its throughput, recording %.2f; %.2f and %.2f s/GiB of processor time",
				tt.name, cpu, rate, recorded, perGiB(off.cpu, mib), perGiB(straight.cpu, mib))
			miss(b, cpu > aimCPU, "%.2f of sshd's processor time, at most %.2f", cpu, aimCPU)
			miss(b, rate < aimRate, "%.2f of the direct throughput, at least %.2f", rate, aimRate)
			miss(b, recorded > aimRecording, "recording costs %.2f, at most %.2f", recorded, aimRecording)
		})
	}
}

func perGiB(d time.Duration, mib float64) float64 { return d.Seconds() / mib * 1024 }

// best keeps the least of each.
type best cost

func (m *best) take(c cost) {
	if m.wall == 0 || c.wall < m.wall {
		m.wall = c.wall
	}
	if m.cpu == 0 || c.cpu < m.cpu {
		m.cpu = c.cpu
	}
}

// fetch runs a client and measures; with a recorder it waits for the end of the session, recorded unless off.
func (o *openssh) fetch(b *testing.B, cpu func() time.Duration, c *recorded, off bool, args []string) cost {
	b.Helper()
	if c != nil {
		c.off.Store(off)
		o.publish()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	var errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = null, &errOut
	before, start := cpu(), time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v: %s", args[0], err, errOut.String())
	}
	wall := time.Since(start)
	switch {
	case c == nil:
	case off:
		o.result()
	default:
		res := o.result()
		if _, err := c.rec.Close(recording.EndClosed, int64(res.BytesUp), int64(res.BytesDown)); err != nil {
			b.Fatal(err)
		}
	}
	return cost{cpu: cpu() - before, wall: wall}
}

// BenchmarkSpeedLogin is from TCP's open to the first byte of a shell on a terminal: at sshd directly, and through the proxy,
// in turn. The certificate is signed in this process, so the way to the control plane is not in it, nor is the tunnel.
func BenchmarkSpeedLogin(b *testing.B) {
	needTerminals(b)
	o := newOpenSSH(b)
	key := newSigner(b)
	signer, err := ssh.NewCertSigner(o.certificate(key.PublicKey(), currentUser()), key)
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 25 // one alone says nothing
	var through, straight []time.Duration
	for i := 0; i < rounds || b.Loop(); i++ {
		through = append(through, prompt(b, o.addr, o.clientConfig(currentUser())))
		<-o.results
		cfg := o.clientConfig(currentUser())
		cfg.HostKeyCallback, cfg.Auth = ssh.InsecureIgnoreHostKey(), []ssh.AuthMethod{ssh.PublicKeys(signer)}
		straight = append(straight, prompt(b, o.target, cfg))
	}
	more := median(through) - median(straight)
	b.ReportMetric(median(through).Seconds()*1000, "ms-proxied")
	b.ReportMetric(median(straight).Seconds()*1000, "ms-direct")
	b.ReportMetric(more.Seconds()*1000, "ms-more")
	miss(b, more > aimLogin, "%v more than directly, at most %v", more, aimLogin)
}

// prompt logs in for a shell on a terminal and returns how long the first byte of it took.
func prompt(b *testing.B, addr string, cfg *ssh.ClientConfig) time.Duration {
	b.Helper()
	start := time.Now()
	c, err := ssh.Dial("tcp", addr, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.NewSession()
	if err != nil {
		b.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		b.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		b.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// BenchmarkSpeedIdle is the heap that an idle recorded session holds: a thousand shells on terminals that have shown a
// prompt. Clients and target are another process.
func BenchmarkSpeedIdle(b *testing.B) {
	const sessions = 1000
	for b.Loop() {
		w := newCrowd(b, true)
		w.company.do("shells", 1) // what is made once
		before := heapInUse()
		w.company.do("shells", sessions)
		eventually(b, "all are recorded", func() bool { return w.recorder.Stats().Buffered == 0 })
		each := float64(heapInUse()-before) / sessions
		b.ReportMetric(each/1024, "KiB/session")
		miss(b, each > aimIdleBytes, "%.1f KiB of heap for an idle recorded session, at most %d", each/1024, aimIdleBytes>>10)
		w.close()
	}
}

// BenchmarkSpeedLogins has clients of another process, which is the target as well, log in, run a command and leave as
// fast as they can. All share this machine's processors, so what the proxy alone could do is reckoned from its own
// processor time.
func BenchmarkSpeedLogins(b *testing.B) {
	const logins = 2000
	for b.Loop() {
		w := newCrowd(b, true)
		w.company.do("logins", 50) // what is made once
		cpu, start := selfCPU(), time.Now()
		w.company.do("logins", logins)
		wall, used := time.Since(start), selfCPU()-cpu
		rate, each := logins/wall.Seconds(), used/logins
		alone := 2 / each.Seconds()
		b.ReportMetric(rate, "logins/s-all-on-this-machine")
		b.ReportMetric(each.Seconds()*1000, "cpu-ms/login")
		b.ReportMetric(alone, "logins/s-on-two-processors")
		miss(b, alone < aimLogins, "%.0f logins a second on two processors, at least %d", alone, aimLogins)
		w.close()
	}
}
