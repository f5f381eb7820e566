package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi/client"
)

// The log can be followed, and holds none of the secrets that pass through the agent.
func TestLog_Follow(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l, err := client.New(w.agent.ready.Socket).Log(ctx, "", true)
	must(t, err)
	defer func() { _ = l.Close() }()
	var seen strings.Builder
	until := func(message string) {
		t.Helper()
		for {
			line, err := l.Next()
			if err != nil {
				t.Fatalf("no line %q: %v", message, err)
			}
			fmt.Fprintln(&seen, line)
			if line.Message == message {
				return
			}
		}
	}
	until("agent is ready")
	until("device registered")
	until("link is up")
	_, err = w.agent.SetSetting(t.Context(), "auto_connect", "1")
	must(t, err)
	until("setting changed")
	_, err = w.agent.RotateKeys(t.Context())
	if err == nil {
		t.Fatal("the fake gateway took a key that it does not know")
	}
	w.agent.log(t, &seen)
	for _, secret := range []string{"token-of-", "key-1", "weft1."} {
		if strings.Contains(seen.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, &seen)
		}
	}
}

// log writes all lines that are kept.
func (r *running) log(tb testing.TB, out *strings.Builder) {
	tb.Helper()
	lines, _, _ := r.Log().After(0)
	if len(lines) == 0 {
		tb.Error("the log is empty")
	}
	fmt.Fprintln(out, lines)
}

// auto_connect bounds every disconnection.
func TestPause_AutoConnect(t *testing.T) {
	w := newWorld(t)
	_, err := w.agent.SetSetting(t.Context(), "auto_connect", "1")
	must(t, err)
	for _, d := range []time.Duration{0, time.Hour} {
		st, err := w.agent.Pause(t.Context(), d)
		must(t, err)
		if st.ResumeAt == nil || time.Until(*st.ResumeAt) > time.Minute {
			t.Errorf("a pause of %s ends at %v", d, st.ResumeAt)
		}
	}
	st, err := w.agent.Pause(t.Context(), 20*time.Second)
	must(t, err)
	if st.ResumeAt == nil || time.Until(*st.ResumeAt) > 20*time.Second {
		t.Errorf("a shorter pause ends at %v", st.ResumeAt)
	}
}
