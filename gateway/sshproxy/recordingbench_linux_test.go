package sshproxy_test

import (
	"os"
	"path/filepath"
	"testing"

	"weft/gateway/recording"
)

// BenchmarkRecordedBulk is what recording adds to the proxy's processor time for bulk output, in one run.
func BenchmarkRecordedBulk(b *testing.B) {
	o := newOpenSSH(b)
	c := record(b, o.world, func(c *recording.Config) { c.HashTransfers = false })
	const size = 512 << 20
	config := filepath.Join(o.dir, "config")
	src := filepath.Join(o.dir, "src")
	if err := os.WriteFile(src, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(src, size); err != nil {
		b.Fatal(err)
	}
	for _, tt := range []struct{ name, command string }{{"cat", "cat " + src}} {
		b.Run(tt.name, func(b *testing.B) {
			var on, off cost
			b.SetBytes(size)
			for b.Loop() {
				for _, unrecorded := range []bool{true, false} {
					c.off.Store(unrecorded)
					o.publish()
					m := measure(b, selfCPU, config, tt.command)
					if unrecorded {
						o.result()
						off.add(m)
						continue
					}
					c.finish()
					on.add(m)
				}
			}
			b.ReportMetric(on.cpu.Seconds()/off.cpu.Seconds(), "cpu-ratio")
			b.ReportMetric(on.wall.Seconds()/off.wall.Seconds(), "time-ratio")
		})
	}
}
