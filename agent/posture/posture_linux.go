package posture

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"weft/api"
)

// Limits of what is read of the system.
const (
	maxProcesses   = 50_000
	maxMounts      = 200
	maxDepth       = 8 // of devices on devices
	maxSystemBytes = 64 << 10
)

func (p *Prober) facts() api.DeviceFacts {
	var f api.DeviceFacts
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.OSVersion = unix.ByteSliceToString(u.Release[:])
	}
	f.OSDistroName, f.OSDistroRevision = p.release()
	dmi := func(name string) string { return strings.TrimSpace(p.read("sys/class/dmi/id", name)) }
	// The serial number is for root alone on most systems; then it is not known.
	f.Manufacturer, f.Model, f.SerialNumber = dmi("sys_vendor"), dmi("product_name"), dmi("product_serial")
	return f
}

// read returns a small file of the system, empty if it cannot be read.
func (p *Prober) read(elements ...string) string {
	b, err := os.ReadFile(p.path(elements...))
	if err != nil || len(b) > maxSystemBytes {
		return ""
	}
	return string(b)
}

// release reads os-release(5).
func (p *Prober) release() (name, revision string) {
	text := p.read("etc/os-release")
	if text == "" {
		text = p.read("usr/lib/os-release")
	}
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		v = strings.Trim(v, `"'`)
		switch k {
		case "ID":
			name = v
		case "VERSION_ID":
			revision = v
		}
	}
	return name, revision
}

// running finds a process whose program is at a path, and returns a path to the program as it runs; "" when there is none.
// Processes of other accounts show theirs only to root, so without it nobody can tell that a program does not run.
func (p *Prober) running(path string) (image string, err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	d, err := os.Open(p.path("proc"))
	if err != nil {
		return "", fmt.Errorf("the processes cannot be listed: %w", bare(err))
	}
	names, err := d.Readdirnames(maxProcesses)
	_ = d.Close() // it was only read
	if err != nil {
		return "", fmt.Errorf("the processes cannot be listed: %w", bare(err))
	}
	hidden := !slices.Contains(names, "1") || len(names) == maxProcesses
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		link := p.path("proc", name, "exe")
		switch exe, err := os.Readlink(link); {
		case err == nil && exe == path:
			return link, nil
		case errors.Is(err, fs.ErrPermission):
			hidden = true
		}
	}
	if hidden {
		return "", errors.New("no process of it is visible, and those of other accounts are not")
	}
	return "", nil
}

// disks are the file systems mounted from block devices (proc_pid_mountinfo(5)), with whether dm-crypt is below all of it.
func (p *Prober) disks() ([]api.PostureDisk, error) {
	f, err := os.Open(p.path("proc/self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("the mounts cannot be listed: %w", bare(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	var out []api.PostureDisk
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		mount, fstype, source, ok := parseMount(lines.Text())
		if !ok || !onDisk(fstype, source) {
			continue
		}
		if len(out) == maxMounts {
			return nil, fmt.Errorf("more than %d disks are mounted", maxMounts)
		}
		encrypted := strings.HasPrefix(source, "/dev/") && p.encrypted(p.device(source), 0)
		out = append(out, api.PostureDisk{Mount: printable(mount, maxFactBytes), Encrypted: encrypted})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("the mounts cannot be listed: %w", bare(err))
	}
	return out, nil
}

// onDisk tells what keeps data from images that are only read, such as those of snap packages.
func onDisk(fstype, source string) bool {
	switch fstype {
	case "squashfs", "iso9660", "erofs", "udf":
		return false
	case "zfs", "bcachefs": // whose own encryption is not looked at: they count as open
		return true
	}
	return strings.HasPrefix(source, "/dev/") && source != "/dev/fuse"
}

// parseMount reads "36 35 98:0 /root /mount options [fields] - type source options".
func parseMount(line string) (mount, fstype, source string, ok bool) {
	before, behind, found := strings.Cut(line, " - ")
	a, b := strings.Fields(before), strings.Fields(behind)
	if !found || len(a) < 6 || len(b) < 2 {
		return "", "", "", false
	}
	return unescape(a[4]), b[0], unescape(b[1]), true
}

// unescape turns \040 and the like into what they stand for.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// device is the kernel's name of a block device: /dev/mapper/root is dm-0.
func (p *Prober) device(source string) string {
	path := p.path(source)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return filepath.Base(path)
}

// encrypted reports whether a device is a dm-crypt mapping, or lies on nothing but such.
func (p *Prober) encrypted(device string, depth int) bool {
	if depth > maxDepth {
		return false
	}
	if strings.HasPrefix(p.read("sys/class/block", device, "dm/uuid"), "CRYPT-") {
		return true
	}
	below, err := os.ReadDir(p.path("sys/class/block", device, "slaves"))
	if err != nil || len(below) == 0 {
		return false
	}
	return !slices.ContainsFunc(below, func(e os.DirEntry) bool { return !p.encrypted(e.Name(), depth+1) })
}
