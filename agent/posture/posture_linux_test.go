package posture_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/agent/posture"
	"weft/api"
)

// world is a root directory with the system's files of a test.
func world(t *testing.T, files map[string]string) (*posture.Prober, string) {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, link := strings.CutPrefix(content, "-> "); link {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &posture.Prober{Root: root}, root
}

func look(t *testing.T, p *posture.Prober, c api.PostureCheck) api.PostureObservation {
	t.Helper()
	c.ID = "r"
	return p.Report(t.Context(), []api.PostureCheck{c}).Observations["r"]
}

func TestFacts(t *testing.T) {
	p, _ := world(t, map[string]string{
		"etc/os-release": "NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n", "sys/class/dmi/id/sys_vendor": "LENOVO\n",
		"sys/class/dmi/id/product_name": "20X\x1b1\n", "sys/class/dmi/id/product_serial": "PF-1\n",
	})
	f := p.Report(t.Context(), nil).Facts
	if f.OSVersion == "" {
		t.Error("the kernel's release is not known")
	}
	f.OSVersion = ""
	want := api.DeviceFacts{OS: "linux", OSDistroName: "debian", OSDistroRevision: "12", Manufacturer: "LENOVO", Model: "20X1", SerialNumber: "PF-1"}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Error(diff)
	}
	empty, _ := world(t, nil)
	if f := empty.Report(t.Context(), nil).Facts; f.SerialNumber != "" || f.OSDistroName != "" {
		t.Errorf("invented %+v", f)
	}
}

func TestFile(t *testing.T) {
	p, root := world(t, map[string]string{"a": "hello"})
	path := filepath.Join(root, "a")
	if o := look(t, p, api.PostureCheck{Type: "file", Path: path}); !o.Exists || o.SHA256 != "" || o.Error != "" {
		t.Errorf("%+v", o)
	}
	const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for range 2 { // the second time from memory
		if o := look(t, p, api.PostureCheck{Type: "file", Path: path, SHA256: true}); o.SHA256 != hello {
			t.Errorf("%+v", o)
		}
	}
	if err := os.WriteFile(path, []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if o := look(t, p, api.PostureCheck{Type: "file", Path: path, SHA256: true}); o.SHA256 == hello || o.SHA256 == "" {
		t.Errorf("after a change %+v", o)
	}
	if o := look(t, p, api.PostureCheck{Type: "file", Path: path + "x"}); o.Exists || o.Error != "" {
		t.Errorf("no file: %+v", o)
	}
	for name, c := range map[string]api.PostureCheck{
		"a directory has no digest": {Type: "file", Path: root, SHA256: true},
		"a relative path":           {Type: "file", Path: "a"},
		"a path through a file":     {Type: "file", Path: path + "/b"},
	} {
		if o := look(t, p, c); o.Error == "" {
			t.Errorf("%s: %+v", name, o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := p.Report(ctx, []api.PostureCheck{{ID: "r", Type: "file", Path: os.Args[0], SHA256: true}}).Observations["r"]; o.Error == "" {
		t.Errorf("after the end: %+v", o)
	}
}

func TestApplication(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var p posture.Prober // of this machine: this test runs
	if o := look(t, &p, api.PostureCheck{Type: "application", Path: self, SHA256: true}); !o.Running || len(o.SHA256) != 64 {
		t.Errorf("%+v", o)
	}
	visible, root := world(t, map[string]string{"proc/1/exe": "-> /opt/none/first", "proc/2/comm": "kthreadd", "proc/77/exe": "-> /opt/none/tool (deleted)", "proc/self/x": ""})
	if o := look(t, visible, api.PostureCheck{Type: "application", Path: "/opt/none/first"}); !o.Running {
		t.Errorf("%+v", o)
	}
	if o := look(t, visible, api.PostureCheck{Type: "application", Path: "/opt/none/tool"}); o.Running || o.Error != "" {
		t.Errorf("a program that was replaced: %+v", o)
	}
	// Without sight of the first process others are hidden too, and nobody can tell that something does not run.
	if err := os.RemoveAll(filepath.Join(root, "proc/1")); err != nil {
		t.Fatal(err)
	}
	if o := look(t, visible, api.PostureCheck{Type: "application", Path: "/opt/none/tool"}); o.Error == "" {
		t.Errorf("hidden processes: %+v", o)
	}
}

func TestDisks(t *testing.T) {
	const mounts = `22 1 254:1 / / rw - ext4 /dev/mapper/vg-root rw
23 22 8:1 / /boot rw - ext4 /dev/sda1 rw
24 22 0:5 / /proc rw - proc proc rw
25 22 7:0 / /snap/x ro - squashfs /dev/loop0 ro
26 22 254:3 / /mnt/a\040b rw - xfs /dev/mapper/half rw
27 22 0:77 / /tank rw - zfs tank rw
nonsense
`
	p, _ := world(t, map[string]string{
		"proc/self/mountinfo": mounts, "dev/mapper/vg-root": "-> ../dm-1", "dev/dm-1": "", "dev/dm-0": "", "dev/mapper/half": "-> ../dm-3", "dev/dm-3": "", "dev/sda1": "",
		"sys/class/block/dm-1/dm/uuid": "LVM-x\n", "sys/class/block/dm-1/slaves/dm-0": "", "sys/class/block/dm-0/dm/uuid": "CRYPT-LUKS2-x\n",
		"sys/class/block/dm-0/slaves/sda2": "", "sys/class/block/sda1/size": "1",
		"sys/class/block/dm-3/dm/uuid": "LVM-y\n", "sys/class/block/dm-3/slaves/dm-0": "", "sys/class/block/dm-3/slaves/sda1": "",
	})
	want := []api.PostureDisk{{Mount: "/", Encrypted: true}, {Mount: "/boot"}, {Mount: "/mnt/a b"}, {Mount: "/tank"}}
	if diff := cmp.Diff(want, look(t, p, api.PostureCheck{Type: "disk_encryption"}).Disks); diff != "" {
		t.Error(diff)
	}
	empty, _ := world(t, nil)
	if o := look(t, empty, api.PostureCheck{Type: "disk_encryption"}); o.Error == "" {
		t.Errorf("no mounts: %+v", o)
	}
}
