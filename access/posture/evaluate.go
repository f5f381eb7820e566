package posture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Evaluate reports whether a device passes r, and why not. seen is nil when the device made no observation for the rule;
// list finds the values of a list.
func (r *Rule) Evaluate(f *Facts, seen *Observation, list func(id string) ([]string, bool)) (passed bool, reason string) {
	evaluated := types[r.Type]
	switch {
	case !evaluated:
		return false, fmt.Sprintf("rules of type %s cannot be checked here", clip(r.Type))
	case r.Input.Thumbprint != "":
		return false, "the signer of a file is not checked; ask for its sha256 instead"
	case f.OS == "":
		return false, "the device did not say what system it is"
	case !r.isFor(f.OS):
		return false, fmt.Sprintf("the rule is for other systems than %s", clip(f.OS))
	case seen == nil:
		return false, "the device did not report"
	case seen.Error != "":
		return false, clip(seen.Error)
	}
	switch r.Type {
	case TypeWARP, TypeGateway:
		return true, "" // an enrolled agent reported
	case TypeFile:
		return r.file(seen)
	case TypeApplication:
		return r.application(seen)
	case TypeOSVersion:
		return r.osVersion(f)
	case TypeDiskEncryption:
		return r.disks(seen)
	case TypeSerialNumber:
		return r.listed("serial number", f.SerialNumber, list)
	case TypeUniqueClientID:
		return r.listed("unique client ID", f.UniqueClientID, list)
	}
	return false, "the rule cannot be checked"
}

func (r *Rule) file(seen *Observation) (bool, string) {
	if r.Input.Exists != nil && !*r.Input.Exists {
		if seen.Exists {
			return false, "the file is there"
		}
		return true, ""
	}
	if !seen.Exists {
		return false, "the file is not there"
	}
	return r.digest(seen)
}

func (r *Rule) application(seen *Observation) (bool, string) {
	if r.Input.Running != nil && !*r.Input.Running {
		if seen.Running {
			return false, "the application runs"
		}
		return true, ""
	}
	if !seen.Running {
		return false, "the application does not run"
	}
	return r.digest(seen)
}

func (r *Rule) digest(seen *Observation) (bool, string) {
	if r.Input.SHA256 != "" && !strings.EqualFold(r.Input.SHA256, seen.SHA256) {
		return false, "the file has another digest"
	}
	return true, ""
}

func (r *Rule) osVersion(f *Facts) (bool, string) {
	in := &r.Input
	for _, want := range [...]struct{ what, want, is string }{
		{"distribution", in.OSDistroName, f.OSDistroName},
		{"revision of the distribution", in.OSDistroRevision, f.OSDistroRevision},
		{"extra version", in.OSVersionExtra, f.OSVersionExtra},
	} {
		if want.want != "" && !strings.EqualFold(want.want, want.is) {
			return false, fmt.Sprintf("the %s is %q", want.what, clip(want.is))
		}
	}
	is, ok := parseVersion(f.OSVersion)
	want, fine := parseVersion(in.Version)
	if !ok || !fine {
		return false, fmt.Sprintf("the version %q cannot be compared", clip(f.OSVersion))
	}
	c := slices.Compare(is[:], want[:])
	switch in.Operator {
	case "<":
		ok = c < 0
	case "<=":
		ok = c <= 0
	case "==":
		ok = c == 0
	case ">=":
		ok = c >= 0
	case ">":
		ok = c > 0
	default:
		ok = false
	}
	if !ok {
		return false, fmt.Sprintf("the version is %s, not %s %s", clip(f.OSVersion), in.Operator, in.Version)
	}
	return true, ""
}

// disks asks for every file system that is mounted from a disk, or for those that are named.
func (r *Rule) disks(seen *Observation) (bool, string) {
	if len(seen.Disks) == 0 {
		return false, "no disk was found"
	}
	open := func(mount string) bool {
		i := slices.IndexFunc(seen.Disks, func(d Disk) bool { return strings.EqualFold(d.Mount, mount) })
		return i < 0 || !seen.Disks[i].Encrypted
	}
	for _, d := range r.Input.CheckDisks {
		if open(d) {
			return false, fmt.Sprintf("disk %q is not encrypted, or not there", clip(d))
		}
	}
	if len(r.Input.CheckDisks) > 0 && (r.Input.RequireAll == nil || !*r.Input.RequireAll) {
		return true, ""
	}
	for _, d := range seen.Disks {
		if !d.Encrypted {
			return false, fmt.Sprintf("disk %q is not encrypted", clip(d.Mount))
		}
	}
	return true, ""
}

func (r *Rule) listed(what, is string, list func(string) ([]string, bool)) (bool, string) {
	if is == "" {
		return false, "the device did not say its " + what
	}
	values, ok := list(r.Input.ID)
	if !ok {
		return false, "the list of the rule is gone"
	}
	if !slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, is) }) {
		return false, fmt.Sprintf("the %s is not on the list", what)
	}
	return true, ""
}

// parseVersion reads the numbers at the beginning, up to four: 6.1.0-18-amd64 is 6.1.0.0.
func parseVersion(s string) (v [4]uint64, ok bool) {
	if s == "" || len(s) > maxVersion {
		return v, false
	}
	if i := strings.IndexFunc(s, func(c rune) bool { return c != '.' && (c < '0' || c > '9') }); i >= 0 {
		s = s[:i]
	}
	for i, part := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return v, false
		}
		if i < len(v) {
			v[i] = n
		}
	}
	return v, true
}
