//go:build e2e && linux

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/integration/lab"
)

// output is what a program that runs on has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// forwardingApp is an application that grants otherUser, with forwarding to a destination or without.
func forwardingApp(destination string) map[string]any {
	rules := map[string]any{"usernames": []string{otherUser}}
	if destination != "" {
		rules["local_forwarding"] = map[string]any{"destinations": []string{destination}}
	}
	return map[string]any{
		"name": "forwarding", "type": "infrastructure",
		"target_criteria": []any{map[string]any{"target_attributes": map[string]any{"hostname": []string{"host-a"}}, "port": 22, "protocol": "SSH"}},
		"policies": []any{map[string]any{
			"name": "forwarders", "decision": "allow", "include": []any{map[string]any{"email": map[string]any{"email": userEmail}}},
			"connection_rules": map[string]any{"ssh": rules},
		}},
	}
}

// TestForwardingAllowed: from the policy through the certificate to a stock sshd and back, and the end of it when the policy ends.
func TestForwardingAllowed(t *testing.T) {
	w := theWorld(t)
	config := w.agent.sshConfig(t)
	w.agent.selectVNET(t, "a")
	to := fmt.Sprintf("%s:%d", hostIPs[0], hiddenPort)
	var app struct {
		ID string `json:"id"`
	}
	if err := w.api.Do(t.Context(), http.MethodPost, "/access/apps", forwardingApp(to), &app); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.api.DeleteApplication(context.WithoutCancel(t.Context()), app.ID); err != nil {
			t.Error(err)
		}
	})
	ssh := func(args ...string) []string { return append([]string{"ssh", "-F", config, "-l", otherUser}, args...) }
	var last string
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(last)
		}
	})
	eventually(t, 30*time.Second, "the forwarding works", func() bool {
		cmd := lab.Command{Netns: w.net.client, Args: ssh("-W", to, "host-a")}.Exec(t.Context())
		cmd.Stdin = strings.NewReader("hello\n")
		out, err := cmd.CombinedOutput()
		last = fmt.Sprint(string(out), err)
		return err == nil && strings.Contains(string(out), "host-a hello\n")
	})
	for what, args := range map[string][]string{
		"another port":             ssh("-W", fmt.Sprintf("%s:%d", hostIPs[0], echoPort), "host-a"),
		"the SSH port":             ssh("-W", hostIPs[0]+":22", "host-a"),
		"the user of another rule": {"ssh", "-F", config, "-l", unixUser, "-W", to, "host-a"},
		"the other way round":      ssh("-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:22", "host-a"),
	} {
		if out, err := w.run(t.Context(), w.net.client, args...); err == nil {
			t.Errorf("%s was served: %q", what, out)
		}
	}
	if out, err := w.agent.cli(t.Context(), "explain", "host-a:22", "--as", otherUser); err != nil || !strings.Contains(out, `policy "forwarders" with forwarding to `+to) {
		t.Errorf("explain: %q, %v", out, err)
	}

	// One that runs ends with its right.
	cmd := lab.Command{Netns: w.net.client, Args: ssh("-W", to, "host-a")}.Exec(t.Context())
	var said output
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := waitFor(cmd, in)
	if _, err := io.WriteString(in, "hello\n"); err != nil {
		t.Error(err)
	}
	eventually(t, 30*time.Second, "it runs", func() bool { return strings.Contains(said.String(), "host-a") })
	if err := w.api.Do(t.Context(), http.MethodPut, "/access/apps/"+app.ID, forwardingApp(""), nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Errorf("it lives on: %q", said.String())
		_ = cmd.Process.Kill()
		<-ended
	}
	eventually(t, 30*time.Second, "the end is on record", func() bool { return w.auditLast(t, "host-a")["reason"] == "forwarding_revoked" })
}

// waitFor closes the channel when the program has ended; its input stays open until then.
func waitFor(cmd *exec.Cmd, in io.Closer) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = cmd.Process.Wait() // how it ended is not the question
		_ = in.Close()
		_ = cmd.Wait() // for what it wrote
	}()
	return ended
}
