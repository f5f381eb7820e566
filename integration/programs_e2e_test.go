//go:build e2e && linux

package integration_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newStrictDesk is a desk whose OpenSSH takes no host key that it does not know, and says whatever it has to say. No
// known_hosts exists: the one line of the account's host CA, which ssh-config installed, has to do.
func newStrictDesk(t *testing.T, a *agent) *desk {
	t.Helper()
	d := newDesk(t, a)
	d.configure(t, "Host *\n  StrictHostKeyChecking yes\n  LogLevel INFO\n")
	return d
}

// configure adds lines to the user's own configuration.
func (d *desk) configure(t *testing.T, lines string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.home, ".ssh", "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("\n" + lines)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// nc is the command by which a program that takes one reaches port 22 of a target.
func (d *desk) nc(target string) string {
	return d.a.w.bin.CLI + " --socket " + d.a.socket + " nc " + target + " 22"
}

// file makes a file of random content in the desk's home, and returns it.
func (d *desk) file(t *testing.T, name string, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.home, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return data
}

// program is one way in which a real program is used.
type program struct {
	name  string
	tools []string // that have to be installed
	// script is run by sh -e in the desk's home, with the options of the row that follow: $NC is a command that reaches host-a.
	script string
	want   string // on standard output
	// noise is what the program says on standard error of its own accord, whatever the server: its lines that hold one of
	// these are left out. OpenSSH has none.
	noise []string
	// arrives is a file in the home of host A that must be the desk's file "data" afterwards.
	arrives string
}

// programs are run against host-a.a, as root, with a file "data" at hand.
var programs = []program{
	{name: "ssh", tools: []string{"ssh"}, script: `echo in | ssh root@host-a.a 'hostname; cat'`, want: "host-a\nin\n"},
	{name: "ssh, a shell", tools: []string{"ssh"}, script: `echo hostname | ssh -T root@host-a.a`, want: "host-a\n"},
	{name: "ssh, exit status", tools: []string{"ssh"}, script: `ssh root@host-a.a 'exit 37' || echo $?`, want: "37\n"},
	{name: "scp", tools: []string{"scp"}, script: `scp -q data root@host-a.a:"by scp"; scp -q root@host-a.a:"by scp" back`, arrives: "by scp"},
	{name: "scp -O", tools: []string{"scp"}, script: `scp -q -O data root@host-a.a:by-scp-o; scp -q -O root@host-a.a:by-scp-o back`, arrives: "by-scp-o"},
	{
		name: "sftp", tools: []string{"sftp"},
		script: `printf 'put data by-sftp\nget by-sftp back\nmkdir made\nrmdir made\nln -s by-sftp link\nrm link\n' | sftp -q -b - root@host-a.a >/dev/null`, arrives: "by-sftp",
	},
	{name: "rsync", tools: []string{"rsync"}, script: `rsync -a data root@host-a.a:by-rsync; rsync -a root@host-a.a:by-rsync back`, arrives: "by-rsync"},
	{
		name: "git", tools: []string{"git"},
		script: `ssh root@host-a.a 'rm -rf p.git && git init -q --bare -b main p.git'
git init -q -b main first; cp data first; cd first
git add data; git -c user.name=x -c user.email=x@y.z commit -q -m first
git push -q root@host-a.a:p.git main; cd ..
git clone -q root@host-a.a:p.git second
cmp data second/data; cp second/data back`,
	},
	{
		name: "Ansible, ping", tools: []string{"ansible"},
		script: `ansible all -i host-a.a,host-b.b, -u root -m ping -o | sed 's/ =>.*//' | sort`,
		want:   "host-a.a | SUCCESS\nhost-b.b | SUCCESS\n",
	},
	{
		name: "Ansible, copy", tools: []string{"ansible"},
		script: `ansible all -i host-a.a, -u root -m copy -a "src=data dest=by-ansible mode=0600" -o | sed 's/ =>.*//'
ansible all -i host-a.a, -u root -m fetch -a "src=by-ansible dest=back flat=yes" -o | sed 's/ =>.*//'`,
		want:    "host-a.a | CHANGED\nhost-a.a | CHANGED\n",
		arrives: "by-ansible",
	},
	{
		name: "sshfs", tools: []string{"sshfs", "fusermount3"},
		script: `mkdir mnt; sshfs root@host-a.a: mnt
cp data mnt/by-sshfs; cmp data mnt/by-sshfs; mv mnt/by-sshfs mnt/sshfs-moved; cp mnt/sshfs-moved back
fusermount3 -u mnt; rmdir mnt`,
		arrives: "sshfs-moved",
	},
	{
		name: "plink, by the host CA", tools: []string{"plink"},
		script: `CA=$(head -n 1 .ssh/weft/authorities | cut -d ' ' -f 4); mkdir -p .putty/sshhostcas
printf 'PublicKey=%s\nValidity=weft-gateway\nPermitRSASHA1=0\nPermitRSASHA256=0\nPermitRSASHA512=0\n' "$CA" > .putty/sshhostcas/weft
echo in | plink -batch -loghost weft-gateway -proxycmd "$NC" root@host-a.a 'hostname; cat'`,
		want: "host-a\nin\n",
	},
	{
		name: "plink, by a fingerprint", tools: []string{"plink"},
		script: `plink -batch -hostkey "$FINGERPRINT" -proxycmd "$NC" root@host-a.a hostname`, want: "host-a\n",
	},
	{
		name: "pscp", tools: []string{"pscp"},
		script:  `pscp -q -batch -hostkey "$FINGERPRINT" -proxycmd "$NC" data root@host-a.a:by-pscp; pscp -q -batch -hostkey "$FINGERPRINT" -proxycmd "$NC" root@host-a.a:by-pscp back`,
		arrives: "by-pscp",
	},
	{
		name: "dbclient, by a line of known_hosts", tools: []string{"dbclient"},
		script: `mkdir -p .ssh; echo "host-a.a $HOSTKEY" > .ssh/known_hosts
echo in | dbclient -T -J "$NC" root@host-a.a 'hostname; cat'; rm .ssh/known_hosts`,
		want: "host-a\nin\n",
	},
	{
		// It remembers nothing: that is for a first look only.
		name: "dbclient, which takes any key", tools: []string{"dbclient"},
		script: `dbclient -T -y -J "$NC" root@host-a.a hostname`, want: "host-a\n", noise: []string{"dbclient: \n", "key accepted unconditionally", "(ssh-ed25519 fingerprint"},
	},
	{name: "paramiko", tools: []string{python}, script: python + ` -W ignore with_paramiko.py host-a.a "$NC" "$HOSTKEY"`, want: "host-a in 7\n", arrives: "by-paramiko"},
	{name: "asyncssh", tools: []string{python}, script: python + ` -W ignore with_asyncssh.py host-a.a "$NC"`, want: "host-a in 7\n", arrives: "by-asyncssh"},
}

// python is the one whose modules come from packages.
const python = "/usr/bin/python3"

// scripts are programs that use a library, each of which runs a command and moves a file there and back.
var scripts = map[string]string{
	"with_paramiko.py": `
import base64, sys, paramiko
host, nc, key = sys.argv[1:]
t = paramiko.Transport(paramiko.ProxyCommand(nc))
t.start_client()
if t.get_remote_server_key().asbytes() != base64.b64decode(key.split()[1]): sys.exit("another host key")
t.auth_none("root")
c = t.open_session()
c.exec_command("hostname; cat; exit 7")
c.sendall(b"in")
c.shutdown_write()
print(*c.makefile().read().decode().split(), c.recv_exit_status())
s = paramiko.SFTPClient.from_transport(t)
s.put("data", "by-paramiko")
s.get("by-paramiko", "back")
t.close()
`,
	"with_asyncssh.py": `
import asyncio, shlex, sys, asyncssh
host, nc = sys.argv[1:]
async def main():
    async with asyncssh.connect(host, username="root", proxy_command=shlex.split(nc), known_hosts=".ssh/weft/authorities",
                                host_key_alias="weft-gateway", client_keys=None, password="", agent_path=None, config=None) as c:
        r = await c.run("hostname; cat; exit 7", input="in")
        print(*r.stdout.split(), r.exit_status)
        async with c.start_sftp_client() as s:
            await s.put("data", "by-asyncssh")
            await s.get("by-asyncssh", "back")
asyncio.run(main())
`,
}

// TestPrograms runs what people have, unchanged, through agent, gateway and connector to a stock sshd.
func TestPrograms(t *testing.T) {
	w := theWorld(t)
	w.agent.selectVNET(t, "a")
	d := newStrictDesk(t, w.agent)
	key := d.plainHostKey(t)
	fingerprint := strings.Fields(d.must(t, key, "ssh-keygen", "-l", "-f", "-"))[1]
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(d.home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prelude := fmt.Sprintf("set -e\nNC='%s'\nHOSTKEY='%s'\nFINGERPRINT='%s'\n", d.nc("host-a.a"), key, fingerprint)
	defer d.endMasters(t)
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) { d.try(t, prelude, p) })
	}
	t.Run("nothing was learned", func(t *testing.T) {
		for _, name := range []string{".ssh/known_hosts", ".ssh/weft/known_hosts"} {
			if b, err := os.ReadFile(filepath.Join(d.home, name)); err == nil && len(b) > 0 {
				t.Errorf("%s has become %q", name, b)
			}
		}
	})
}

func (d *desk) try(t *testing.T, prelude string, p program) {
	t.Helper()
	for _, tool := range p.tools {
		need(t, tool)
	}
	d.needModule(t, p.name)
	if p.tools[0] == "sshfs" {
		if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
			t.Skipf("no FUSE here: %v", err)
		} else if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	data := d.file(t, "data", 300_000)
	back := filepath.Join(d.home, "back")
	if err := os.Remove(back); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	out, stderr, err := d.run(t, "", "timeout", "120", "sh", "-c", prelude+p.script)
	if err != nil || out != p.want {
		t.Errorf("%q, %v; want %q", out, err, p.want)
	}
	if rest := withoutLines(stderr, p.noise); rest != "" {
		t.Errorf("standard error: %q", rest)
	}
	if p.arrives == "" {
		return
	}
	for _, path := range []string{d.a.w.path("home-a", p.arrives), back} {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v; want the %d that were sent", path, len(got), err, len(data))
		}
	}
}

// needModule skips a row about a Python library that is not installed.
func (d *desk) needModule(t *testing.T, module string) {
	t.Helper()
	if module != "paramiko" && module != "asyncssh" {
		return
	}
	if _, _, err := d.run(t, "", python, "-W", "ignore", "-c", "import "+module); err != nil {
		t.Skip(module + " is not installed")
	}
}

func withoutLines(text string, noise []string) string {
	var b strings.Builder
lines:
	for line := range strings.Lines(text) {
		for _, n := range noise {
			if strings.Contains(line, n) {
				continue lines
			}
		}
		b.WriteString(line)
	}
	return strings.TrimSpace(b.String())
}

// plainHostKey is how a user gets the gateway's key for a program that knows no certificates: from OpenSSH, which checks
// the certificate of that very key first.
func (d *desk) plainHostKey(t *testing.T) string {
	t.Helper()
	_, stderr, err := d.run(t, "", "ssh", "-v", "-o", "HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com", "root@host-a.a", "true")
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	_, rest, ok := strings.Cut(stderr, "Server host certificate: ssh-ed25519-cert-v01@openssh.com ")
	if !ok {
		t.Fatalf("no certificate: %s", stderr)
	}
	certified := strings.TrimSuffix(strings.Fields(rest)[0], ",")
	known := filepath.Join(d.home, "plain")
	d.must(t, "", "ssh", "-o", "LogLevel=ERROR", "-o", "HostKeyAlgorithms=ssh-ed25519", "-o", "UserKnownHostsFile=~/plain", "-o", "HashKnownHosts=no",
		"-o", "StrictHostKeyChecking=accept-new", "root@host-a.a", "true")
	b, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	_, key, ok := strings.Cut(strings.TrimSpace(string(b)), " ")
	if got := d.must(t, key, "ssh-keygen", "-l", "-f", "-"); !ok || !strings.Contains(got, certified+" ") {
		t.Fatalf("the plain key is %q, the certificate is for %q", got, certified)
	}
	return key
}

// endMasters ends the connections that Ansible keeps for a while.
func (d *desk) endMasters(t *testing.T) {
	t.Helper()
	sockets, err := filepath.Glob(filepath.Join(d.home, ".ansible", "cp", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		cmd := d.command(t, "ssh", "-O", "exit", "-S", filepath.Join(accountHome(), ".ansible", "cp", filepath.Base(s)), "any")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("a master had ended by itself: %v %s", err, out)
		}
	}
}

// TestProgramsRefused: a jump over a target to another machine is a forwarding, which policy does not allow here.
func TestProgramsRefused(t *testing.T) {
	w := theWorld(t)
	w.agent.selectVNET(t, "a")
	d := newStrictDesk(t, w.agent)
	for _, to := range []string{hostIPs[1], "10.20.0.9"} {
		out, stderr, err := d.run(t, "", "ssh", "-J", "root@host-a.a", "root@"+to, "hostname")
		if exitCodeOf(err) != 255 || out != "" || !strings.Contains(stderr, "weft: port forwarding is not allowed") {
			t.Errorf("-J to %s: %q, %v; stderr %q", to, out, err, stderr)
		}
		eventually(t, 30*time.Second, "the refusal is on record", func() bool {
			return w.auditHas(t, "host-a", "ssh_event", "direct-tcpip", to+":22")
		})
	}
}
