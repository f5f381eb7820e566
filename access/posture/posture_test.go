package posture_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"weft/access/posture"
	"weft/internal/kind"
)

func rule(ruleType, input string) posture.Rule {
	in, err := posture.ParseInput(ruleType, []byte(input))
	if err != nil {
		panic(err)
	}
	return posture.Rule{ID: "r", Name: "rule", Type: ruleType, Schedule: 5 * time.Minute, Input: in}
}

const digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestEvaluate(t *testing.T) {
	lists := map[string][]string{"l1": {"ABC-123"}}
	list := func(id string) ([]string, bool) { v, ok := lists[id]; return v, ok }
	linux := posture.Facts{OS: "linux", OSVersion: "6.1.0-18-amd64", OSDistroName: "debian", OSDistroRevision: "12", SerialNumber: "abc-123"}
	seen := &posture.Observation{}
	disks := &posture.Observation{Disks: []posture.Disk{{Mount: "/", Encrypted: true}, {Mount: "/boot"}}}
	for _, tc := range []struct {
		name  string
		rule  posture.Rule
		facts posture.Facts
		seen  *posture.Observation
		want  bool
		says  string
	}{
		{"a file that is there", rule("file", `{"path":"/a"}`), linux, &posture.Observation{Exists: true}, true, ""},
		{"a file that is not", rule("file", `{"path":"/a","exists":true}`), linux, seen, false, "not there"},
		{"a file that must not be", rule("file", `{"path":"/a","exists":false}`), linux, seen, true, ""},
		{"a file that must not be and is", rule("file", `{"path":"/a","exists":false}`), linux, &posture.Observation{Exists: true}, false, "is there"},
		{"a file with its digest", rule("file", `{"path":"/a","sha256":"`+strings.ToUpper(digest)+`"}`), linux, &posture.Observation{Exists: true, SHA256: digest}, true, ""},
		{"a file with another digest", rule("file", `{"path":"/a","sha256":"`+digest+`"}`), linux, &posture.Observation{Exists: true, SHA256: "00"}, false, "digest"},
		{"a file without a digest", rule("file", `{"path":"/a","sha256":"`+digest+`"}`), linux, &posture.Observation{Exists: true}, false, "digest"},
		{"a file that the device cannot look at", rule("file", `{"path":"/a","exists":false}`), linux, &posture.Observation{Error: "permission denied"}, false, "permission"},
		{"not reported", rule("file", `{"path":"/a","exists":false}`), linux, nil, false, "did not report"},
		{"a signer", posture.Rule{Type: "file", Input: posture.Input{Path: "/a", Thumbprint: "x"}}, linux, &posture.Observation{Exists: true}, false, "signer"},

		{"a program that runs", rule("application", `{"path":"/a"}`), linux, &posture.Observation{Running: true}, true, ""},
		{"a program that does not", rule("application", `{"path":"/a"}`), linux, &posture.Observation{Exists: true}, false, "not run"},
		{"a program that must not", rule("application", `{"path":"/a","running":false}`), linux, seen, true, ""},
		{"a program that must not and does", rule("application", `{"path":"/a","running":false}`), linux, &posture.Observation{Running: true}, false, "runs"},

		{"a version that is enough", rule("os_version", `{"operator":">=","version":"6.1.0"}`), linux, seen, true, ""},
		{"a version that is not", rule("os_version", `{"operator":">","version":"6.1"}`), linux, seen, false, "6.1.0-18"},
		{"numbers, not text", rule("os_version", `{"operator":"<","version":"6.10"}`), linux, seen, true, ""},
		{"the same version", rule("os_version", `{"operator":"==","version":"6.1"}`), linux, seen, true, ""},
		{"a version that is not known", rule("os_version", `{"operator":"<","version":"99"}`), posture.Facts{OS: "linux"}, seen, false, "compared"},
		{"a distribution", rule("os_version", `{"operator":">=","version":"5","os_distro_name":"Debian","os_distro_revision":"12"}`), linux, seen, true, ""},
		{"another distribution", rule("os_version", `{"operator":">=","version":"5","os_distro_name":"ubuntu"}`), linux, seen, false, "debian"},
		{"for another system", rule("os_version", `{"operator":">=","version":"5","operating_system":"mac"}`), linux, seen, false, "other systems"},
		{"for another platform", posture.Rule{Type: "warp", Platforms: []string{"mac", "windows"}}, linux, seen, false, "other systems"},
		{"for this platform", posture.Rule{Type: "warp", Platforms: []string{"mac", "linux"}}, linux, seen, true, ""},
		{"a system that is not said", posture.Rule{Type: "warp"}, posture.Facts{}, seen, false, "what system"},
		{"a system that nobody knows", posture.Rule{Type: "warp"}, posture.Facts{OS: "plan9"}, seen, false, "other systems"},

		{"one disk", rule("disk_encryption", `{"checkDisks":["/"]}`), linux, disks, true, ""},
		{"another disk", rule("disk_encryption", `{"checkDisks":["/boot"]}`), linux, disks, false, "/boot"},
		{"a disk that is not there", rule("disk_encryption", `{"checkDisks":["/home"]}`), linux, disks, false, "/home"},
		{"all disks", rule("disk_encryption", `{"requireAll":true}`), linux, disks, false, "/boot"},
		{"all disks and one", rule("disk_encryption", `{"requireAll":true,"checkDisks":["/"]}`), linux, disks, false, "/boot"},
		{"no disks", rule("disk_encryption", `{"requireAll":true}`), linux, seen, false, "no disk"},

		{"a serial number on the list", rule("serial_number", `{"id":"l1"}`), linux, seen, true, ""},
		{"a serial number that is not", rule("serial_number", `{"id":"l1"}`), posture.Facts{OS: "linux", SerialNumber: "x"}, seen, false, "not on the list"},
		{"a serial number that is not known", rule("serial_number", `{"id":"l1"}`), posture.Facts{OS: "linux"}, seen, false, "did not say"},
		{"a list that is gone", rule("serial_number", `{"id":"l2"}`), linux, seen, false, "gone"},

		{"a type that is not evaluated", rule("crowdstrike_s2s", `{"connection_id":"x","state":"online"}`), linux, seen, false, "cannot be checked"},
		{"a type that nobody knows", posture.Rule{Type: "nonsense"}, linux, seen, false, "cannot be checked"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, reason := tc.rule.Evaluate(&tc.facts, tc.seen, list)
			if got != tc.want || (reason == "") != tc.want || !strings.Contains(reason, tc.says) {
				t.Errorf("got %v, %q", got, reason)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name, ruleType, input, pointer string
	}{
		{"a file", "file", `{"path":"/a","exists":true,"locations":{}}`, ""},
		{"no path", "file", `{}`, "/input/path"},
		{"no input", "application", ``, "/input/path"},
		{"a digest that is none", "file", `{"path":"/a","sha256":"zz"}`, "/input/sha256"},
		{"a digest of what must not be", "file", `{"path":"/a","exists":false,"sha256":"` + digest + `"}`, "/input/sha256"},
		{"a member of another type", "file", `{"path":"/a","operator":">="}`, "/input/operator"},
		{"a member that nobody knows", "file", `{"path":"/a","pth":"/b"}`, "/input/pth"},
		{"no operator", "os_version", `{"version":"1"}`, "/input/operator"},
		{"a version that is none", "os_version", `{"operator":"<","version":"new"}`, "/input/version"},
		{"a system that is none", "os_version", `{"operator":"<","version":"1","operating_system":"beos"}`, "/input/operating_system"},
		{"no list", "serial_number", `{}`, "/input/id"},
		{"no disks", "disk_encryption", `{"requireAll":false}`, "/input"},
		{"anything of a type that is not evaluated", "intune", `{"connection_id":"x","compliance_status":"compliant"}`, ""},
		{"a type that is none", "nonsense", `{}`, "/type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := posture.Rule{Name: "n", Type: tc.ruleType, Schedule: posture.DefaultSchedule}
			var err error
			if r.Input, err = posture.ParseInput(tc.ruleType, []byte(tc.input)); err == nil {
				err = r.Validate()
			}
			pointer := ""
			if e, ok := err.(*kind.Error); ok { //nolint:errorlint // made here
				pointer = e.Pointer
			}
			if (err == nil) != (tc.pointer == "") || pointer != tc.pointer {
				t.Errorf("got %v at %q", err, pointer)
			}
		})
	}
	for _, tc := range []struct {
		name                 string
		schedule, expiration time.Duration
		platform             string
		ok                   bool
	}{
		{"as usual", 5 * time.Minute, 0, "linux", true},
		{"too often", time.Second, 0, "linux", false},
		{"too seldom", 48 * time.Hour, 0, "linux", false},
		{"an expiration before the schedule", 5 * time.Minute, time.Minute, "linux", false},
		{"an expiration", 5 * time.Minute, time.Hour, "mac", true},
		{"an expiration without end", 5 * time.Minute, 365 * 24 * time.Hour, "linux", false},
		{"a platform that is none", 5 * time.Minute, 0, "beos", false},
	} {
		r := posture.Rule{Type: "warp", Schedule: tc.schedule, Expiration: tc.expiration, Platforms: []string{tc.platform}}
		if err := r.Validate(); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	r := rule("file", `{"path":"/a","sha256":"`+digest+`"}`)
	if c, ok := r.Check("linux"); !ok || c != (posture.Check{ID: "r", Type: "file", Path: "/a", SHA256: true, IntervalSeconds: 300}) {
		t.Errorf("%+v %v", c, ok)
	}
	r.Platforms = []string{"mac"}
	if _, ok := r.Check("linux"); ok {
		t.Error("a device looks at what is not for it")
	}
	other := posture.Rule{Type: "intune"}
	if _, ok := other.Check("linux"); ok {
		t.Error("a device looks at what nobody evaluates")
	}
	if got := r.GoodFor(); got != 16*time.Minute {
		t.Errorf("good for %s", got)
	}
}

// Whatever an input says, parsing ends, and an observation of nothing at all passes only a rule that asks for an absence.
func FuzzParseInput(f *testing.F) {
	for _, seed := range []string{`{"path":"/a"}`, `{"operator":">=","version":"1.2.3.4.5"}`, `{"checkDisks":["C:"],"requireAll":true}`, `[]`, `{"exists":5}`, `{"id":null}`} {
		f.Add("file", seed)
		f.Add("os_version", seed)
	}
	f.Fuzz(func(t *testing.T, ruleType, raw string) {
		if !json.Valid([]byte(raw)) {
			return
		}
		in, err := posture.ParseInput(ruleType, []byte(raw))
		if err != nil {
			return
		}
		r := posture.Rule{Type: ruleType, Schedule: time.Minute, Input: in}
		if r.Validate() != nil {
			return
		}
		if passed, _ := r.Evaluate(&posture.Facts{OS: "linux"}, nil, func(string) ([]string, bool) { return nil, false }); passed {
			t.Errorf("%s %s passes unseen", ruleType, raw)
		}
	})
}
