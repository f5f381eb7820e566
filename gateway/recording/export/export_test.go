package export_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"weft/gateway/recording"
	"weft/gateway/recording/export"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second

// hostile is what a target might send to whoever looks at a recording.
const hostile = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">" +
	"\x1b]0;pwned\x07\x1b]52;c;cHduZWQ=\x07\x1b[c\x1b[6n\x1bP$q\x1b\\ &lt;b&gt; ]]> --> `${1}` \u202e"

// sampleFile records a session of two channels and returns the path of its file.
func sampleFile(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	r, err := recording.New(recording.Config{
		Dir: dir, Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), GatewayID: "gw-1", GatewayVersion: "1.2.3",
	})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := r.Start(recording.SessionConfig{Subject: recording.Subject{
		SessionID: "s1", AccountID: "acc", UserID: "u1", Email: "jdoe@company.com", DeviceID: "d1", DeviceName: "laptop", TargetID: "t1",
		Hostname: "web-1", VNETID: "v1", VNETName: "office-net", Login: "root", ApplicationID: "a1", PolicyID: "p1",
		PolicyName: "engineers", PolicyRev: 7, ClientAddress: netip.MustParseAddrPort("100.96.0.1:40000"),
		ServerAddress: netip.MustParseAddrPort("10.20.0.5:22"), Protocol: "SSH",
	}})
	if err != nil {
		tb.Fatal(err)
	}
	c := s.Channel(1, "session")
	c.Env("LANG", "C.UTF-8")
	c.PTY("xterm-256color", 80, 12, []byte{53, 0, 0, 0, 1, 0})
	c.Start(recording.EventShell, "")
	c.Output([]byte("\x1b[1;32mroot@web-1\x1b[0m:\x1b[34m~\x1b[0m# "))
	enter(c, "ls --color")
	c.Output([]byte("\x1b[01;34mbin\x1b[0m  \x1b[48;5;88mred\x1b[0m  \x1b[38;2;255;160;0morange\x1b[0m  日本\r\nroot@web-1:~# "))
	enter(c, "cat evil")
	c.Output([]byte(hostile + "\r\nroot@web-1:~# "))
	c.Exit(0)
	c.Close()
	x := s.Channel(2, "session")
	x.Start(recording.EventExec, "uptime </script>")
	x.Output([]byte("up 3 days\nload average: 0.00\n"))
	x.Stderr([]byte("warning\n"))
	x.ExitSignal("TERM")
	x.Close()
	sum, err := s.Close(recording.EndClosed, 30, 300)
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, filepath.FromSlash(sum.Name))
}

func enter(c *recording.Channel, line string) {
	c.Input([]byte(line + "\r"))
	c.Output([]byte(line + "\r\n"))
}

func read(tb testing.TB, path string) *recording.Reader {
	tb.Helper()
	f, err := recording.OpenFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := recording.NewReader(f, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		r.Close()
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// What differs from run to run.
var variable = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`"timestamp(\\?)":\d+`), `"timestamp$1":0`},
	{regexp.MustCompile(`"offset":[0-9.e-]+`), `"offset":0`},
	{regexp.MustCompile(`\[0\.\d+,`), "[0.0,"},
	{regexp.MustCompile(`(?m)^0:00:00\.\d`), "0:00:00.0"},
}

func TestExports_Golden(t *testing.T) {
	path := sampleFile(t)
	for _, tt := range []struct {
		name  string
		write func(*bytes.Buffer) error
	}{
		{"cast", func(b *bytes.Buffer) error { return export.Asciicast(b, read(t, path), 1) }},
		{"exec.cast", func(b *bytes.Buffer) error { return export.Asciicast(b, read(t, path), 2) }},
		{"events.jsonl", func(b *bytes.Buffer) error { return export.Events(b, read(t, path)) }},
		{"txt", func(b *bytes.Buffer) error { return export.Text(b, read(t, path)) }},
		{"ssh_logs.jsonl", func(b *bytes.Buffer) error { return export.SSHLogs(b, read(t, path)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tt.write(&b); err != nil {
				t.Fatal(err)
			}
			got := b.String()
			for _, v := range variable {
				got = v.re.ReplaceAllString(got, v.to)
			}
			golden := filepath.Join("testdata", "sample."+tt.name)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestText_NoControlCharacters(t *testing.T) {
	var b bytes.Buffer
	if err := export.Text(&b, read(t, sampleFile(t))); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && (r < 0x20 || (r >= 0x7f && r < 0xa0)) }); i >= 0 {
		t.Errorf("a control character is at %d: %q", i, b.String()[max(0, i-20):i+10])
	}
}

// htmlFile exports the sample.
func htmlFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := export.HTML(&b, read(t, sampleFile(t))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "session.html")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHTML_HoldsNoTextOfTheSession(t *testing.T) {
	b, err := os.ReadFile(htmlFile(t))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, s := range []string{"pwned", "onerror", "uptime", "http:", "https:", "//cdn"} {
		if strings.Contains(page, s) {
			t.Errorf("the page holds %q", s)
		}
	}
	if n := strings.Count(page, "<script"); n != 2 {
		t.Errorf("%d script elements", n)
	}
	if !strings.Contains(page, `content="default-src 'none'; script-src 'sha256-`) || strings.Contains(page, "unsafe-inline") {
		t.Error("no strict content security policy")
	}
}

// chromium runs a headless browser without a network.
func chromium(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	home := t.TempDir()
	base := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
		"--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--user-data-dir=" + home, "--window-size=1280,800",
		"--virtual-time-budget=8000",
	}
	cmd := exec.CommandContext(ctx, path, append(base, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.WaitDelay = time.Second
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatalf("chromium: %v: %s", err, errOut.String())
	}
	return string(out)
}

// The page opens in a browser, plays, and hostile content is text there.
func TestHTML_Chromium(t *testing.T) {
	path := htmlFile(t)
	dom := chromium(t, "--dump-dom", "file://"+path+"#t=100")
	for _, want := range []string{
		`data-ready="true"`, `<div id="note" role="alert" hidden`, "root@web-1 by jdoe@company.com", "ls --color", "uptime &lt;/script&gt;",
		"&lt;script&gt;document.title='pwned'&lt;/script&gt;", "日本", "rgb(255, 160, 0)", "font-weight: bold",
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	for _, bad := range []string{"<title>pwned", "<img"} {
		if strings.Contains(dom, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	played := chromium(t, "--dump-dom", "file://"+path+"#play")
	if !strings.Contains(played, "日本") || !strings.Contains(played, ">Play</button>") {
		t.Error("it does not play to its end")
	}
	shot := filepath.Join(t.TempDir(), "shot.png")
	if keep := os.Getenv("WEFT_SCREENSHOT"); keep != "" {
		shot = keep
	}
	chromium(t, "--screenshot="+shot, "file://"+path+"#t=100")
	if st, err := os.Stat(shot); err != nil || st.Size() < 10000 {
		t.Errorf("screenshot: %v, %v", st, err)
	}
}
