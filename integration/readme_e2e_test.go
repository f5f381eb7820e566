//go:build e2e && linux

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/integration/lab"
)

const (
	readmeHost  = "10.20.0.5" // the README's web-1
	readmePage  = "hello from web-1"
	readmeLimit = 3 * time.Minute
)

// TestReadme_FiveMinutes runs every line of the README's tour as it stands there, in one namespace that has web-1's
// address, with a real sshd and a web server on it. What a reader does by hand is done for them: sshd already names the
// file that the tour writes, and ssh's question about a new host key is answered.
func TestReadme_FiveMinutes(t *testing.T) {
	w := theWorld(t)
	need(t, "rsync")
	need(t, "curl")
	ctx, cancel := context.WithTimeout(t.Context(), readmeLimit)
	defer cancel()
	r := newReader(t, ctx, w)

	script := "set -eo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\nmake() { :; }\n" + readmeTour(t)
	cmd := lab.Command{
		Netns: r.ns, Args: []string{"bash", "-c", script},
		Env: []string{"HOME=" + r.home, "PATH=" + r.wrappers + ":" + os.Getenv("PATH")},
	}.Exec(ctx)
	cmd.Dir = r.clone
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the tour: %v\n%s", err, out)
	}
	if n := strings.Count(string(out), readmePage); n != 2 {
		t.Errorf("the page was seen %d times, want 2 (once by each curl):\n%s", n, out)
	}
	if n := strings.Count(string(out), `"success":true`); n < 3 {
		t.Errorf("%d answers of the API say success, want 3 at least:\n%s", n, out)
	}
	for _, want := range []string{"│ SSH      │ 22    │ hostname: web-1       │ 10.20.0.5 (office-net) │ jdoe, root │", "│ HTTP     │ 80 "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the list of targets lacks %q:\n%s", want, out)
		}
	}
	sent, errSent := os.ReadFile(filepath.Join(r.clone, "office-ca.pub"))
	got, errGot := os.ReadFile(filepath.Join(r.root, "office-ca.pub"))
	if err := errors.Join(errSent, errGot); err != nil {
		t.Fatal(err)
	}
	if string(sent) != string(got) || !strings.HasPrefix(string(got), "ecdsa-sha2-nistp256 ") {
		t.Errorf("web-1 received %q, sent was %q", got, sent)
	}
}

// readmeTour is what stands in the shell blocks between the tour's heading and the next.
func readmeTour(t *testing.T) string {
	t.Helper()
	repo, err := lab.Repository()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(repo, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tour, ok := strings.Cut(string(b), "\n## Five minutes\n")
	if !ok {
		t.Fatal("the README has no five minutes")
	}
	tour, _, _ = strings.Cut(tour, "\n## ")
	var script strings.Builder
	for _, block := range strings.Split(tour, "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```")
		script.WriteString(block + "\n")
	}
	return script.String()
}

// reader is someone who follows the README: a clone, a home, and web-1.
type reader struct {
	ns, clone, home, root, wrappers string
}

func newReader(t *testing.T, ctx context.Context, w *world) *reader {
	t.Helper()
	dir := t.TempDir()
	r := &reader{
		ns: fmt.Sprintf("weft%d-readme", os.Getpid()), clone: filepath.Join(dir, "clone"), home: filepath.Join(dir, "home"),
		root: filepath.Join(dir, "root"), wrappers: filepath.Join(dir, "wrappers"),
	}
	for _, d := range []string{r.clone, r.home, r.root, r.wrappers} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(w.bin.CLI), filepath.Join(r.clone, "bin")); err != nil {
		t.Fatal(err)
	}
	// OpenSSH takes the home from the user database, so that HOME alone would not keep this out of root's files.
	config := filepath.Join(dir, "ssh_config")
	writeFile(t, config, "StrictHostKeyChecking accept-new\nUserKnownHostsFile "+filepath.Join(r.home, "known_hosts")+"\n", 0o600)
	for _, program := range []string{"ssh", "scp", "sftp"} {
		writeFile(t, filepath.Join(r.wrappers, program), fmt.Sprintf("#!/bin/sh\nexec /usr/bin/%s -F '%s' \"$@\"\n", program, config), 0o700)
	}
	if err := errors.Join(ip(ctx, "netns", "add", r.ns), ip(ctx, "-n", r.ns, "link", "set", "lo", "up"),
		ip(ctx, "-n", r.ns, "address", "add", readmeHost+"/32", "dev", "lo")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ip(context.Background(), "netns", "delete", r.ns) }) // the last thing that we do with it
	r.startWeb1(t, ctx, dir)
	return r
}

// startWeb1 starts an sshd that trusts the file that the tour will write, and a web server.
func (r *reader) startWeb1(t *testing.T, ctx context.Context, dir string) {
	t.Helper()
	key, err := hostKey()
	if err != nil {
		t.Fatal(err)
	}
	keyFile, config := filepath.Join(dir, "host-key"), filepath.Join(dir, "sshd_config")
	writeFile(t, keyFile, string(key), 0o600)
	writeFile(t, config, strings.Join([]string{
		"ListenAddress " + readmeHost, "HostKey " + keyFile, "TrustedUserCAKeys " + filepath.Join(r.clone, "office-ca.pub"),
		"PidFile none", "UsePAM no", "PermitRootLogin prohibit-password", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"AuthorizedKeysFile none", "StrictModes no", "Subsystem sftp internal-sftp", "",
	}, "\n"), 0o600)
	p, err := lab.Start(ctx, lab.Command{Name: "web-1", LogDir: dir, Netns: r.ns, Args: []string{
		"unshare", "--mount", "sh", "-c", fmt.Sprintf("mount --bind '%s' '%s' && exec %s -D -e -f '%s'", r.root, accountHome(), sshdPath, config),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Tail(20))
		}
		_ = p.Kill() // it has nothing to save
	})
	eventually(t, time.Minute, "web-1's sshd answers", func() bool {
		c, err := dialIn(ctx, r.ns, "tcp", readmeHost+":22")
		return err == nil && c.Close() == nil
	})
	l, err := listenIn(r.ns, readmeHost+":80")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{ReadHeaderTimeout: readHeaderTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, readmePage+"\n") // the client checks what came
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = web.Serve(l) // ends by Close
	}()
	t.Cleanup(func() { _ = web.Close(); <-done })
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}
