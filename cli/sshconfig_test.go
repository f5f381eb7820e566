package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/cli"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSSHConfig_KeepsContent(t *testing.T) {
	const include = "Include weft/config"
	for _, tt := range []struct{ name, before, installed string }{
		{"empty", "", include + "\n"},
		{"a host", "Host a\n  User b\n", include + "\nHost a\n  User b\n"},
		{"no line end at the end", "Host a", include + "\nHost a"},
		{"CRLF", "Host a\r\n  User b\r\n", include + "\r\nHost a\r\n  User b\r\n"},
		{"blank lines first", "\n\nHost a\n", include + "\n\n\nHost a\n"},
		{"another Include", "Include other\n", include + "\nInclude other\n"},
		{"bytes that are no UTF-8", "# \xff\xfe\n", include + "\n# \xff\xfe\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := cli.NewSSHPaths(t.TempDir(), true)
			write(t, p.Config(), tt.before, 0o644)
			for range 2 {
				if _, err := p.Install("# text\n", ""); err != nil {
					t.Fatal(err)
				}
				if got := read(t, p.Config()); got != tt.installed {
					t.Fatalf("installed %q, want %q", got, tt.installed)
				}
			}
			if ok, err := p.Installed(); !ok || err != nil {
				t.Errorf("installed: %v, %v", ok, err)
			}
			if _, err := p.Uninstall(); err != nil {
				t.Fatal(err)
			}
			if got := read(t, p.Config()); got != tt.before {
				t.Errorf("left behind %q, want %q", got, tt.before)
			}
			if ok, err := p.Installed(); ok || err != nil {
				t.Errorf("still installed: %v, %v", ok, err)
			}
		})
	}
}

func TestSSHConfig_MovesItsLineToTheTop(t *testing.T) {
	p := cli.NewSSHPaths(t.TempDir(), true)
	write(t, p.Config(), "Host a\n  include \"weft/config\"\n  User b\nInclude=weft/config\n", 0o600)
	if _, err := p.Install("x\n", ""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("Include weft/config\nHost a\n  User b\n", read(t, p.Config())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSSHConfig_SymbolicLink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege")
	}
	home := t.TempDir()
	p := cli.NewSSHPaths(home, true)
	real := filepath.Join(home, "dotfiles", "ssh")
	write(t, real, "Host a\n", 0o640)
	if err := os.Mkdir(filepath.Dir(p.Config()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../dotfiles/ssh", p.Config()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Install("x\n", ""); err != nil {
		t.Fatal(err)
	}
	if got := read(t, real); got != "Include weft/config\nHost a\n" {
		t.Errorf("the file behind the link: %q", got)
	}
	fi, err := os.Lstat(p.Config())
	if err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", fi, err)
	}
	if fi, err := os.Stat(real); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := p.Uninstall(); err != nil || read(t, real) != "Host a\n" {
		t.Errorf("%q, %v", read(t, real), err)
	}
}

func TestSSHConfig_Refuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, config string)
		says    string
	}{
		{"a file that may not be changed", func(t *testing.T, c string) { t.Helper(); write(t, c, "Host a\n", 0o400) }, "read-only"},
		{"a byte order mark", func(t *testing.T, c string) { t.Helper(); write(t, c, "\xef\xbb\xbfHost a\n", 0o600) }, "byte order mark"},
		{"a folder in its place", func(t *testing.T, c string) {
			t.Helper()
			if err := os.MkdirAll(c, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "no ordinary file"},
		{"a link that leads nowhere", func(t *testing.T, c string) {
			t.Helper()
			if runtime.GOOS == "windows" {
				t.Skip("links need a privilege")
			}
			if err := os.MkdirAll(filepath.Dir(c), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/nowhere/at/all", c); err != nil {
				t.Fatal(err)
			}
		}, "leads nowhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := cli.NewSSHPaths(t.TempDir(), true)
			tt.prepare(t, p.Config())
			before, err := os.ReadFile(p.Config())
			_ = err // a folder cannot be read
			_, err = p.Install("x\n", "")
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
			after, err := os.ReadFile(p.Config())
			_ = err
			if string(after) != string(before) {
				t.Errorf("%q became %q", before, after)
			}
			left, err := filepath.Glob(filepath.Join(filepath.Dir(p.Config()), "*weft*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}

func TestSSHConfig_Refresh(t *testing.T) {
	home := t.TempDir()
	p := cli.NewSSHPaths(home, true)
	if err := p.Refresh("# text\n", "x\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(home, ".ssh")); err == nil {
		t.Fatal("a refresh made files where nothing is installed")
	}
	text, err := cli.RenderSSHConfig("linux", "/bin/warp-cli", "", "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Install(text, ""); err != nil {
		t.Fatal(err)
	}
	want, err := cli.RenderSSHConfig("linux", "/bin/warp-cli", "", "", []string{"staging", "prod", "not plain"}, []string{"ssh-ed25519 AAAA x"})
	if err != nil {
		t.Fatal(err)
	}
	// Not by somebody for whom the same files have other names.
	if err := cli.NewSSHPaths(home, false).Refresh("# other\n", ""); err != nil || !strings.Contains(read(t, filepath.Join(home, ".ssh", "weft", "config")), "Match final") {
		t.Errorf("refreshed for another home: %v", err)
	}
	if err := p.Refresh(want, cli.AuthorityLines([]string{"ssh-ed25519 AAAA x"})); err != nil {
		t.Fatal(err)
	}
	got := read(t, filepath.Join(home, ".ssh", "weft", "config"))
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "# networks: prod staging\n") || !strings.HasSuffix(got, "# made: config\n# made: folder\n") {
		t.Errorf("after a refresh (-want +got):\n%s", cmp.Diff(want, got))
	}
	if got := read(t, filepath.Join(home, ".ssh", "weft", "authorities")); got != "@cert-authority * ssh-ed25519 AAAA weft\n" {
		t.Errorf("authorities: %q", got)
	}
}

// TestSSHConfig_Systems is the contract of the generated file for each system's shell.
func TestSSHConfig_Systems(t *testing.T) {
	for _, tt := range []struct {
		name, goos, self, socket, suffix string
		match, proxy                     string
	}{
		{
			"Linux", "linux", "/usr/bin/warp-cli", "", "",
			`Match final host "*,!*'*" exec "/usr/bin/warp-cli ssh-config match -- '%h' %p 2>/dev/null"`,
			`ProxyCommand /usr/bin/warp-cli nc -- '%h' %p`,
		},
		{
			"blanks, a dollar and a per cent sign", "darwin", "/My $Tools/100%/warp-cli", "/run/a b", "",
			`Match final host "*,!*'*" exec "'/My $Tools/100%%/warp-cli' --socket '/run/a b' ssh-config match -- '%h' %p 2>/dev/null"`,
			`ProxyCommand '/My $Tools/100%%/warp-cli' --socket '/run/a b' nc -- '%h' %p`,
		},
		{
			"a suffix", "linux", "/usr/bin/warp-cli", "", "weft",
			`Match final host "*.weft,!*'*" exec "/usr/bin/warp-cli ssh-config match --suffix weft -- '%h' %p 2>/dev/null"`,
			`ProxyCommand /usr/bin/warp-cli nc --suffix weft -- '%h' %p`,
		},
		{
			"Windows", "windows", `C:\Weft\warp-cli.exe`, "", "",
			`Match final host "*,!*&*,!*|*,!*<*,!*>*,!*^*,!*(*,!*)*" exec "C:\Weft\warp-cli.exe ssh-config match -- %h %p 2>nul"`,
			`ProxyCommand C:\Weft\warp-cli.exe nc -- %h %p`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := cli.RenderSSHConfig(tt.goos, tt.self, tt.socket, tt.suffix, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{tt.match, "  " + tt.proxy} {
				if !strings.Contains(text, want+"\n") {
					t.Errorf("no line\n%s\nin\n%s", want, text)
				}
			}
		})
	}
	for _, self := range []string{"/a\nb", "/o'neil/warp-cli", "/a\"b", "/a\\b", "C:\\a%b\\warp-cli.exe", "C:\\Program Files\\warp-cli.exe"} {
		goos := "linux"
		if strings.HasPrefix(self, "C:") {
			goos = "windows"
		}
		if text, err := cli.RenderSSHConfig(goos, self, "", "", nil, nil); err == nil {
			t.Errorf("%s: %q was written:\n%s", goos, self, text)
		}
	}
}

// TestSSHConfig_RealSSH has a real client read what was written for paths that are hard to quote, and run it.
func TestSSHConfig_RealSSH(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("programs of Unix")
	}
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("no ssh is installed")
	}
	for _, dir := range []string{"plain", "with blank", "per%cent", "dollar$HOME"} {
		t.Run(dir, func(t *testing.T) {
			home := filepath.Join(t.TempDir(), dir)
			self := filepath.Join(home, "warp-cli")
			// A stand-in that takes one name, and leaves a mark.
			write(t, self, "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/log\"\ncase \"$*\" in *' web-1.prod 22') exit 0;; esac\nexit 7\n", 0o700)
			p := cli.NewSSHPaths(home, false)
			text, err := cli.RenderSSHConfig("linux", self, "", "", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			write(t, p.Config(), "Host *\n  User alice\n", 0o600)
			if _, err := p.Install(text, ""); err != nil {
				t.Fatal(err)
			}
			for host, want := range map[string]bool{"web-1.prod": true, "web-2.prod": false} {
				out, err := exec.CommandContext(t.Context(), ssh, "-G", "-F", p.Config(), host).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if strings.Contains(string(out), "proxycommand ") != want || !strings.Contains(string(out), "\nuser alice\n") && !strings.HasPrefix(string(out), "user alice\n") {
					t.Errorf("%s:\n%s", host, out)
				}
			}
			if log := read(t, filepath.Join(home, "log")); !strings.Contains(log, "ssh-config match -- web-1.prod 22") {
				t.Errorf("it was asked %q", log)
			}
			if out, err := exec.CommandContext(t.Context(), ssh, "-F", p.Config(), "web-1.prod").CombinedOutput(); err == nil {
				t.Errorf("the stand-in is no server: %s", out)
			}
			if log := read(t, filepath.Join(home, "log")); !strings.Contains(log, "\nnc -- web-1.prod 22\n") {
				t.Errorf("the ProxyCommand was not run: %q", log)
			}
		})
	}
}

func TestAuthorityLines(t *testing.T) {
	got := cli.AuthorityLines([]string{"ssh-ed25519 AAAA a@b", "ecdsa-sha2-nistp256 BBBB", "junk", "", "ssh-rsa A\nHost *", "command=\"x\" ssh-rsa A"})
	if diff := cmp.Diff("@cert-authority * ssh-ed25519 AAAA weft\n@cert-authority * ecdsa-sha2-nistp256 BBBB weft\n", got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzNeverTaken: what may be taken holds nothing that a shell or ssh could read as anything but a name.
func FuzzNeverTaken(f *testing.F) {
	for _, s := range []string{"web-1.prod", "github.com", "x.github.com.", "10.0.0.1", "0x7f.1", "-oProxyCommand=x", "a'b", "a b", "::1", "localhost"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if cli.NeverTaken(s) {
			return
		}
		if s == "" || s[0] == '-' || strings.ContainsAny(s, " \t\r\n'\"`$&|;<>()\\%:/*?[]{}!^~#=@,") {
			t.Fatalf("%q may be taken", s)
		}
		low := strings.ToLower(strings.TrimRight(s, "."))
		if strings.HasSuffix("."+low, ".github.com") || strings.HasSuffix("."+low, ".localhost") || strings.Trim(low, "0123456789.") == "" {
			t.Fatalf("%q may be taken", s)
		}
	})
}

// FuzzSSHConfigFile: whatever a configuration holds, to install and to uninstall leaves all but our own lines.
func FuzzSSHConfigFile(f *testing.F) {
	for _, s := range []string{"", "Host a\r\n", "Include weft/config\nHost a", "  Include=weft/config\n\n", "a\x00b\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.HasPrefix(s, "\xef\xbb\xbf") {
			return
		}
		p := cli.NewSSHPaths(t.TempDir(), true)
		write(t, p.Config(), s, 0o600)
		if _, err := p.Uninstall(); err != nil {
			t.Fatal(err)
		}
		bare := read(t, p.Config())
		if _, err := p.Install("x\n", ""); err != nil {
			t.Fatal(err)
		}
		if got := read(t, p.Config()); !strings.HasPrefix(got, p.Include()) || !strings.HasSuffix(got, bare) {
			t.Fatalf("%q became %q", bare, got)
		}
		if _, err := p.Uninstall(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, p.Config()); got != bare {
			t.Fatalf("%q became %q", bare, got)
		}
	})
}

// TestSSHConfig_HostCertificate: with the authority's line a host certificate is taken without a question, and no other is.
func TestSSHConfig_HostCertificate(t *testing.T) {
	const sshd = "/usr/sbin/sshd"
	for _, tool := range []string{sshd, "ssh", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("sshd wants root here")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keygen := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", args...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %q: %v: %s", args, err, out)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"ca", "other", "host"} {
		keygen("-q", "-t", "ed25519", "-N", "", "-f", at(name))
	}
	keygen("-q", "-s", at("ca"), "-h", "-I", "gateway", "-n", "weft-gateway", at("host.pub"))
	write(t, at("sshd_config"), "HostKey "+at("host")+"\nHostCertificate "+at("host-cert.pub")+"\nUsePAM no\nAuthorizedKeysFile none\nPasswordAuthentication no\n", 0o600)
	self := at("warp-cli")
	write(t, self, "#!/bin/sh\n[ \"$1\" = ssh-config ] && exit 0\nexec "+sshd+" -i -f "+at("sshd_config")+"\n", 0o700)
	for _, tt := range []struct{ name, authority, says string }{
		{"the authority that signed it", "ca", "Permission denied"}, // what follows is the login, which nobody may here
		{"another authority", "other", "Host key verification failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := cli.NewSSHPaths(t.TempDir(), false)
			keys := []string{read(t, at(tt.authority+".pub"))}
			text, err := cli.RenderSSHConfig("linux", self, "", "", nil, keys)
			if err != nil {
				t.Fatal(err)
			}
			text = strings.ReplaceAll(text, "~/.ssh/weft/", filepath.Dir(p.Config())+"/weft/")
			if _, err := p.Install(text, cli.AuthorityLines(keys)); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "ssh", "-F", p.Config(), "-o", "BatchMode=yes", "-o", "IdentityFile=none",
				"-o", "IdentityAgent=none", "web-1.prod", "true").CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.says) || strings.Contains(string(out), "Permanently added") {
				t.Errorf("got %v: %s; want it to say %q", err, out, tt.says)
			}
		})
	}
}
