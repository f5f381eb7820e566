package host_test

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"weft/agent/localapi/server"
)

// use returns what the process holds after a collection: heap and stacks in bytes, and goroutines.
func use() (bytes, goroutines int) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
}

// BenchmarkSession measures what one more session holds: `go test -run '^$' -bench Session -benchtime 1x ./agent/host`.
// The far ends of the connected ones, which are in this process, count in.
func BenchmarkSession(b *testing.B) {
	for _, kind := range []string{"unregistered", "disconnected", "connected"} {
		b.Run(kind, func(b *testing.B) {
			const sessions = 40
			o := newOrg(b, "acme")
			cfg := testConfig(b)
			h := start(b, cfg)
			h.statusOf("1", "") // what the first costs is not what one more costs
			for b.Loop() {
				bytes, goroutines := use()
				for i := range sessions {
					account := strconv.Itoa(1000 + i)
					switch kind {
					case "unregistered":
						h.statusOf(account, "")
					case "disconnected":
						h.with(account, "", func(a server.Agent) {
							_, err := a.Register(b.Context(), o.enrolment(fmt.Sprintf("u%d@acme", i)))
							must(b, err)
						})
					default:
						h.join(account, "", o.enrolment(fmt.Sprintf("u%d@acme", i)))
					}
				}
				after, goroutinesAfter := use()
				b.ReportMetric(float64(after-bytes)/sessions, "bytes/session")
				b.ReportMetric(float64(goroutinesAfter-goroutines)/sessions, "goroutines/session")
				h.stop()
				h = start(b, testConfig(b))
			}
		})
	}
}
