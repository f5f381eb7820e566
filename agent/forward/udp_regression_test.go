package forward_test

import (
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"weft/agent/forward"
	"weft/internal/localsock"
	"weft/internal/testwait"
)

// Who took the port of a client over while its flow was open went on with that flow: the account was asked for once.
func TestManager_UDPPortChangesHands_regression(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells whose datagram it is")
	}
	var other atomic.Bool
	k := start(t, forward.Config{Allow: func(localsock.Caller) bool { return !other.Load() }})
	st := k.add(forward.Spec{Name: "u", Network: forward.UDP, Listen: "127.0.0.1:0"})
	c := dial(t, "udp", st.Listen)
	must(t, echo(t, c, "mine"))
	other.Store(true)
	testwait.Until(t, "the flow is over", func() bool {
		_, err := io.WriteString(c, "not mine")
		must(t, err)
		return k.status("u").Refused > 0
	})
	testwait.Until(t, "the flow is gone", func() bool { return k.status("u").Open == 0 })
}
