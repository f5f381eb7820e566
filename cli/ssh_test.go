package cli_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/agent/localapi"
	"weft/cli"
)

func TestParseSSH(t *testing.T) {
	for _, tt := range []struct {
		name string
		args string // words separated by |
		host string
		port uint16
		vnet string
		argv string // what follows ssh, with P for the ProxyCommand and A for the alias
	}{
		{"a bare target", "web-1", "web-1", 22, "", "P|A|--|web-1"},
		{"a user", "alice@web-1.a1net", "web-1.a1net", 22, "", "P|A|--|alice@web-1.a1net"},
		{"a user with an @ in it", "alice@company.com@web-1", "web-1", 22, "", "P|A|--|alice@company.com@web-1"},
		{"a target ID", "0193f22a-9df3-78e3-b5bb-7ab631903306", "0193f22a-9df3-78e3-b5bb-7ab631903306", 22, "", "P|A|--|0193f22a-9df3-78e3-b5bb-7ab631903306"},
		{"an IPv6 address", "root@fd00::1", "fd00::1", 22, "", "P|A|--|root@fd00::1"},
		{"a command", "web-1|uptime|-p|5", "web-1", 22, "", "P|A|--|web-1|uptime|-p|5"},
		{"a command after --", "web-1|--|-weird", "web-1", 22, "", "P|A|--|web-1|-weird"},
		{"options on both sides", "-v|web-1|-p|23|ls", "web-1", 23, "", "P|-v|-p|23|A|--|web-1|ls"},
		{"a cluster with a value", "-vNL8080:localhost:80|web-1", "web-1", 22, "", "P|-vNL8080:localhost:80|A|--|web-1"},
		{"a cluster with the value apart", "-tp|2200|web-1", "web-1", 2200, "", "P|-tp|2200|A|--|web-1"},
		{"a port by -o", "-o|Port=24|web-1", "web-1", 24, "", "P|-o|Port=24|A|--|web-1"},
		{"a port by -o with a blank", "-oport 24|web-1", "web-1", 24, "", "P|-oport 24|A|--|web-1"},
		{"the first port counts", "-p|24|-o|Port=25|web-1", "web-1", 24, "", "P|-p|24|-o|Port=25|A|--|web-1"},
		{"22 given first counts too", "-p|22|-p|25|web-1", "web-1", 22, "", "P|-p|22|-p|25|A|--|web-1"},
		{"a login name", "-l|alice|web-1", "web-1", 22, "", "P|-l|alice|A|--|web-1"},
		{"a URL", "ssh://alice@web-1:2222", "web-1", 2222, "", "P|-p|2222|A|--|alice@web-1"},
		{"a URL without a port", "ssh://web-1/", "web-1", 22, "", "P|A|--|web-1"},
		{"a URL and -p, which stands above it", "-p|24|ssh://web-1:2222", "web-1", 24, "", "P|-p|24|-p|2222|A|--|web-1"},
		{"a URL with an IPv6 address", "ssh://[fd00::1]:23", "fd00::1", 23, "", "P|-p|23|A|--|fd00::1"},
		{"our --vnet before", "--vnet|b1net|web-1", "web-1", 22, "b1net", "P|A|--|web-1"},
		{"our --vnet after", "web-1|--vnet=b1net|ls", "web-1", 22, "b1net", "P|A|--|web-1|ls"},
		{"not ours in the command", "web-1|ls|--vnet|x", "web-1", 22, "", "P|A|--|web-1|ls|--vnet|x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := cli.ParseSSH(strings.Split(tt.args, "|"))
			if err != nil {
				t.Fatal(err)
			}
			if l.Host() != tt.host || l.Port() != tt.port || l.VNET() != tt.vnet {
				t.Errorf("host %q, port %d, vnet %q; want %q, %d, %q", l.Host(), l.Port(), l.VNET(), tt.host, tt.port, tt.vnet)
			}
			var want []string
			for _, w := range strings.Split("ssh|"+tt.argv, "|") {
				switch w {
				case "P":
					want = append(want, "-o", "ProxyCommand=nc")
				case "A":
					want = append(want, "-o", "HostKeyAlias=alias", "-o", "CheckHostIP=no", "-o", "ControlPath=none")
				default:
					want = append(want, w)
				}
			}
			if diff := cmp.Diff(want, l.Argv("nc", "alias")); diff != "" {
				t.Errorf("argv (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseSSH_Refused(t *testing.T) {
	for _, args := range []string{
		"", "-v", "-p", "-p|x|web-1", "-p|0|web-1", "-o|Port=70000|web-1", "-J|jump|web-1", "-vJjump|web-1", "-W",
		"-o|ProxyCommand=x|web-1", "-o|proxycommand x|web-1", "-o|ProxyJump=x|web-1", "-oProxyUseFdpass=yes|web-1",
		"--json|web-1", "--vnet", "--vnet=|web-1", "-Z|web-1", "--|-oProxyCommand=x", "alice@-oProxyCommand=x", "a b", "a;b", "$(x)", "`x`",
		"a'b", "user@", "ssh://", "ssh://web-1/path", "ssh://web-1:0", "ssh://web-1:x", "web-1|-J|jump", "web\x1b1",
	} {
		if _, err := cli.ParseSSH(strings.Split(args, "|")); err == nil {
			t.Errorf("ParseSSH(%q) did not fail", args)
		}
	}
}

func FuzzParseSSH(f *testing.F) {
	f.Add("-p|22|alice@web-1|--|ls")
	f.Add("-vNL8080:localhost:80|ssh://a@[fd00::1]:23")
	f.Add("-o|Proxycommand =x|a")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := cli.ParseSSH(strings.Split(s, "|"))
		if err != nil {
			return
		}
		argv := l.Argv("OURS", "alias")
		if argv[2] != "ProxyCommand=OURS" {
			t.Fatalf("the way to the target does not stand first: %q", argv)
		}
		for i, a := range argv {
			if a == "--" {
				if i+1 == len(argv) || strings.HasPrefix(argv[i+1], "-") {
					t.Fatalf("no destination after --: %q", argv)
				}
				return
			}
		}
		t.Fatalf("no -- before the destination: %q", argv)
	})
}

func TestProxyCommand(t *testing.T) {
	r := &localapi.Resolution{TargetID: "t", IP: "10.0.0.1", VNETID: "v-1"}
	for _, tt := range []struct {
		name, goos, self, socket, want string
	}{
		{"plain paths", "linux", "/usr/bin/warp-cli", "/run/weft/warp.sock", "/usr/bin/warp-cli --socket /run/weft/warp.sock nc --vnet v-1 10.0.0.1 %p"},
		{"blanks", "darwin", "/My Tools/warp-cli", "/run/a b", "'/My Tools/warp-cli' --socket '/run/a b' nc --vnet v-1 10.0.0.1 %p"},
		{"a quote and a dollar", "linux", "/o'neil/$HOME/warp-cli", "/s", `'/o'\''neil/$HOME/warp-cli' --socket /s nc --vnet v-1 10.0.0.1 %p`},
		{"per cent signs, which ssh expands", "linux", "/a%h/warp-cli", "/100%", "'/a%%h/warp-cli' --socket '/100%%' nc --vnet v-1 10.0.0.1 %p"},
		{"Windows", "windows", `C:\Program Files\weft\warp-cli.exe`, `\\.\pipe\weft`, `"C:\Program Files\weft\warp-cli.exe" --socket "\\.\pipe\weft" nc --vnet v-1 10.0.0.1 %p`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cli.ProxyCommand(tt.goos, tt.self, tt.socket, r)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	for name, bad := range map[string][3]string{
		"a line break":          {"linux", "/a\nb", "10.0.0.1"},
		"a variable on Windows": {"windows", `C:\%PATH%\x`, "10.0.0.1"},
		"not an address":        {"linux", "/a", "10.0.0.1; rm x"},
	} {
		if got, err := cli.ProxyCommand(bad[0], bad[1], "/s", &localapi.Resolution{IP: bad[2]}); err == nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// What ssh starts through a shell must arrive word by word, however the paths are called.
func TestProxyCommand_ThroughShell(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a POSIX shell")
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	dir := filepath.Join(t.TempDir(), `we'ird "dir" $HOME `+"`x`"+` 100% \ ;& (*) é`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "warp-cli")
	if err := os.WriteFile(self, []byte("#!/bin/sh\nprintf '%s\\n' \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "a.sock")
	line, err := cli.ProxyCommand(runtime.GOOS, self, socket, &localapi.Resolution{IP: "fd00::1", VNETID: "v"})
	if err != nil {
		t.Fatal(err)
	}
	// As ssh does it: the tokens of ssh_config(5), then the shell.
	line = strings.NewReplacer("%%", "%", "%p", "23").Replace(line)
	out, err := exec.CommandContext(t.Context(), sh, "-c", "exec "+line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	want := strings.Join([]string{"--socket", socket, "nc", "--vnet", "v", "fd00::1", "23", ""}, "\n")
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

func TestHostKeyAlias(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    localapi.Resolution
		port uint16
		want string
	}{
		{"a target", localapi.Resolution{TargetID: "id", IP: "10.0.0.1", VNETID: "v"}, 22, "weft-id-22"},
		{"another port is another server", localapi.Resolution{TargetID: "id"}, 23, "weft-id-23"},
		{"an address that is no target", localapi.Resolution{IP: "10.0.0.1", VNETID: "v"}, 22, "weft-10.0.0.1.v-22"},
		{"an IPv6 address", localapi.Resolution{IP: "fd00::1", VNETID: "v"}, 22, "weft-fd00--1.v-22"},
	} {
		if got := cli.HostKeyAlias(&tt.r, tt.port); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestKeepAuthorities(t *testing.T) {
	home := t.TempDir()
	p := cli.NewSSHPaths(home, true)
	one, two := "@cert-authority * ssh-ed25519 AAAA weft\n", "@cert-authority * ssh-ed25519 BBBB weft\n"
	keep := func(lines string) string {
		t.Helper()
		path, err := p.KeepAuthorities(lines)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != lines {
			t.Errorf("%s holds %q, %v", path, b, err)
		}
		return path
	}
	first, second := keep(one), keep(two)
	if first == second || keep(one) != first {
		t.Errorf("two organisations share %s", first)
	}
	if _, err := p.Install("text\n", two); err != nil {
		t.Fatal(err)
	}
	if got := keep(two); got != filepath.Join(home, ".ssh", "weft", "authorities") {
		t.Errorf("ssh-config's own file is not used but %s", got)
	}
	if _, err := p.Uninstall(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(home, ".ssh", "weft")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
	if path, err := p.KeepAuthorities(""); err == nil {
		t.Errorf("no authority is kept in %s", path)
	}
}

func TestIdentityOptions(t *testing.T) {
	want := []string{"-o", "HostKeyAlias=weft-gateway", "-o", "CheckHostIP=no", "-o", `GlobalKnownHostsFile="/home/a b/x"`}
	if diff := cmp.Diff(want, cli.IdentityOptions("weft-gateway", "/home/a b/x")); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}
