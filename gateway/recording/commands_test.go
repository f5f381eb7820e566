package recording_test

import (
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/gateway/recording"
)

// typist records a terminal session with scripted ends.
type typist struct {
	t *testing.T
	s *recording.Session
	c *recording.Channel
	d string
}

func newTypist(t *testing.T) *typist {
	t.Helper()
	dir := t.TempDir()
	s := start(t, newRecorder(t, inDir(dir)), "s1")
	p := &typist{t: t, s: s, c: s.Channel(1, "session"), d: dir}
	p.c.PTY("xterm", 40, 10, nil)
	p.c.Start(recording.EventShell, "")
	return p
}

// commands ends the session and returns the command lines.
func (p *typist) commands() []string {
	p.t.Helper()
	p.c.Close()
	sum := finish(p.t, p.s)
	_, recs, err := records(p.t, open(p.t, filepath.Join(p.d, filepath.FromSlash(sum.Name))))
	if !errors.Is(err, io.EOF) {
		p.t.Fatal(err)
	}
	var out []string
	for _, e := range events(p.t, recs) {
		if e.Type == recording.EventCommand {
			out = append(out, e.Command)
		}
	}
	return out
}

// The steps are what goes over the wire: "<" is from the client, ">" from the target.
func TestCommands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		steps []string
		want  []string
	}{
		{"typed and echoed", []string{">$ ", "<l", ">l", "<s", ">s", "<\r", ">\r\nfile\r\n$ "}, []string{"ls"}},
		{"pasted at once", []string{">$ ", "<ls -l\r", ">ls -l\r\nfile\r\n$ "}, []string{"ls -l"}},
		{"several pasted at once", []string{">$ ", "<ls\rpwd\rid\r", ">ls\r\nfile\r\n$ pwd\r\n/root\r\n$ id\r\nuid=0\r\n$ "}, []string{"ls", "pwd", "id"}},
		{"edited", []string{">$ ", "<lx", ">lx", "<\x7f", ">\b \b", "<s\r", ">s\r\n$ "}, []string{"ls"}},
		{"recalled from history", []string{">$ ", "<\x1b[A", ">cat secret", "<\r", ">\r\n$ "}, []string{"cat secret"}},
		{"completed", []string{">$ ", "<ca", ">ca", "<\t", ">t file.txt ", "<\r", ">\r\n$ "}, []string{"cat file.txt"}},
		{"password is not echoed", []string{
			">$ ", "<sudo id\r", ">sudo id\r\n[sudo] password: ", "<hunter2\r", ">\r\nuid=0\r\n$ ", "<exit\r", ">exit\r\n",
		}, []string{"sudo id", "exit"}},
		{"given up", []string{">$ ", "<rm -rf", ">rm -rf", "<\x03", ">^C\r\n$ ", "<ls\r", ">ls\r\n$ "}, []string{"ls"}},
		{"only enter", []string{">$ ", "<\r", ">\r\n$ ", "<\r", ">\r\n$ ", "<ls\r", ">ls\r\n$ "}, []string{"ls"}},
		{"longer than a row", []string{
			">$ ", "<echo 345678901234567890123456789012345678901234567890\r",
			">echo 345678901234567890123456789012345678901234567890\r\nout\r\n$ ",
		}, []string{"echo 345678901234567890123456789012345678901234567890"}},
		{"full-screen programs are skipped", []string{
			">$ ", "<vi\r", ">vi\r\n\x1b[?1049h", "<ihello\r", ">hello\r\nx\r\n", "<:q!\r", ">\x1b[?1049l$ ", "<ls\r", ">ls\r\n$ ",
		}, []string{"vi", "ls"}},
		{"right-hand prompt", []string{">$ \x1b[30G12:00\x1b[3G", "<ls\r", ">ls\r\n$ "}, []string{"ls"}},
		{"semantic marks", []string{">\x1b]133;A\x07$ \x1b]133;B\x07", "<ls\r", ">ls\r\n\x1b]133;C\x07file\r\n"}, []string{"ls"}},
		{"output while typing", []string{
			">$ ", "<l", ">l", ">\r\nnotice\r\n$ l", "<s\r", ">s\r\n$ ",
		}, []string{"ls"}},
		{"terminal answers are not typing", []string{">\x1b[6n", "<\x1b[1;1R", ">$ ", "<ls\r", ">ls\r\n$ "}, []string{"ls"}},
		{"a password forged on the screen is what the screen showed", []string{">Password: ", "<secret\r", ">******\r\n"}, []string{"******"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newTypist(t)
			for _, s := range tt.steps {
				if s[0] == '<' {
					p.c.Input([]byte(s[1:]))
				} else {
					p.c.Output([]byte(s[1:]))
				}
			}
			if d := cmp.Diff(tt.want, p.commands()); d != "" {
				t.Error(d)
			}
		})
	}
}

// live runs a real program on a real terminal.
type live struct {
	*typist
	tty io.ReadWriteCloser

	mu  sync.Mutex
	out strings.Builder
}

func (l *live) read(done chan<- struct{}) {
	defer close(done)
	b := make([]byte, 4096)
	for {
		n, err := l.tty.Read(b)
		if err != nil {
			return
		}
		l.c.Output(b[:n])
		l.mu.Lock()
		l.out.Write(b[:n])
		l.mu.Unlock()
	}
}

// expect waits until the output has the text n times.
func (l *live) expect(text string, n int) {
	l.t.Helper()
	eventually(l.t, "the output has "+text, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Count(l.out.String(), text) >= n
	})
}

func (l *live) send(text string) {
	l.t.Helper()
	l.c.Input([]byte(text))
	if _, err := io.WriteString(l.tty, text); err != nil {
		l.t.Fatal(err)
	}
}

// What real shells do to their line, as far as they are installed here.
func TestCommands_RealShells(t *testing.T) {
	t.Parallel()
	for _, shell := range [][]string{
		{"bash", "--norc", "--noprofile", "-i"},
		{"bash", "--norc", "--noprofile", "--noediting", "-i"},
		{"dash", "-i"},
		{"zsh", "-f", "-i"},
		{"sh", "-i"},
	} {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(shell[0])
			if err != nil {
				t.Skipf("%s is not installed", shell[0])
			}
			l := &live{typist: newTypist(t)}
			cmd := exec.CommandContext(t.Context(), path, shell[1:]...)
			cmd.Dir = t.TempDir()
			const prompt = "me@host$ "
			cmd.Env = []string{"PS1=" + prompt, "TERM=xterm", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + cmd.Dir}
			if l.tty, err = startPTY(cmd, 40, 10); err != nil {
				t.Skipf("no terminal: %v", err)
			}
			done := make(chan struct{})
			go l.read(done)
			l.expect(prompt, 1)
			const ask = "stty -echo; printf 'Pass%s: ' word; read secret; stty echo"
			for i, step := range []struct{ line, wait string }{
				{"echo one", prompt},
				{"echo a-long-line-that-does-not-fit-into-one-row-of-forty", prompt},
				{ask, "Password: "},
				{"hunter2", prompt},
				{"echo 'spaces  kept'", prompt},
			} {
				l.send(step.line + "\r")
				n := 1
				if step.wait == prompt {
					if n = i + 2; i > 2 {
						n--
					}
				}
				l.expect(step.wait, n)
			}
			l.send("exit\r")
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatal("the shell does not end")
			}
			_ = cmd.Wait()
			_ = l.tty.Close()
			want := []string{
				"echo one", "echo a-long-line-that-does-not-fit-into-one-row-of-forty", ask, "echo 'spaces  kept'", "exit",
			}
			if d := cmp.Diff(want, l.commands()); d != "" {
				t.Errorf("%s\n%q", d, l.out.String())
			}
		})
	}
}
