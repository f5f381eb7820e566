package posture

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weft/internal/kind"
)

// Limits of one rule.
const (
	maxTextBytes = 1024
	maxDisks     = 64
	maxVersion   = 64
)

// Rule is a posture rule.
type Rule struct {
	ID, Name, Type string
	// Schedule is how often the device looks; Expiration how long its word is good, 0: three times the schedule and a minute.
	Schedule, Expiration time.Duration
	// Platforms are the systems that the rule is for, in the API's words; none: all.
	Platforms []string
	Input     Input
}

// Input is what a rule compares with: the members of the types that are evaluated.
type Input struct {
	ID               string   `json:"id"` // of a list
	Path             string   `json:"path"`
	Exists           *bool    `json:"exists"`
	Running          *bool    `json:"running"`
	SHA256           string   `json:"sha256"`
	Thumbprint       string   `json:"thumbprint"` // of the signer, which nobody looks at: a rule with one never passes
	OperatingSystem  string   `json:"operating_system"`
	Operator         string   `json:"operator"`
	Version          string   `json:"version"`
	OSDistroName     string   `json:"os_distro_name"`
	OSDistroRevision string   `json:"os_distro_revision"`
	OSVersionExtra   string   `json:"os_version_extra"`
	CheckDisks       []string `json:"checkDisks"`
	RequireAll       *bool    `json:"requireAll"`
}

// others are the members of inputs that are kept and not looked at: of types that are not evaluated, and those that one
// client sends whatever the type.
var others = []string{
	"active_threats", "certificate_id", "check_private_key", "cn", "compliance_status", "connection_id", "countOperator", "domain",
	"eid_last_seen", "enabled", "extended_key_usage", "infected", "is_active", "issue_count", "last_seen", "locations", "network_status",
	"operational_state", "os", "overall", "risk_level", "score", "scoreOperator", "sensor_config", "state", "subject_alternative_names",
	"total_score", "update_window_days", "versionOperator",
}

// members are those of Input, by type of rule.
var members = map[string][]string{
	TypeFile:           {"path", "exists", "sha256", "thumbprint", "operating_system"},
	TypeApplication:    {"path", "running", "sha256", "thumbprint", "operating_system"},
	TypeOSVersion:      {"operating_system", "operator", "version", "os_distro_name", "os_distro_revision", "os_version_extra"},
	TypeDiskEncryption: {"checkDisks", "requireAll"},
	TypeSerialNumber:   {"id"},
	TypeUniqueClientID: {"id", "operating_system"},
	TypeWARP:           {"operating_system"},
	TypeGateway:        {"operating_system"},
}

// Evaluated reports whether rules of a type can pass at all; known whether there is such a type.
func Evaluated(ruleType string) (evaluated, known bool) {
	evaluated, known = types[ruleType]
	return evaluated, known
}

// ParseInput reads an input. A member that the type does not have is refused: it would narrow nothing.
func ParseInput(ruleType string, raw []byte) (Input, error) {
	var in Input
	var all map[string]json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &all); err != nil {
			return in, kind.Field("/input", "the input of a posture rule is an object")
		}
	}
	evaluated := types[ruleType]
	for _, k := range slices.Sorted(maps.Keys(all)) {
		switch {
		case slices.Contains(members[ruleType], k), !evaluated, saysNothing(all[k]):
		case slices.Contains(others, k), slices.ContainsFunc(slices.Collect(maps.Values(members)), func(l []string) bool { return slices.Contains(l, k) }):
			return in, kind.Field("/input/"+k, "a posture rule of type %s does not look at %s; leaving it out would let in more than was written", ruleType, k)
		default:
			return in, kind.Field("/input/"+clip(k), "the key %q is unknown", clip(k))
		}
	}
	if !evaluated || len(all) == 0 {
		return in, nil
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return in, kind.Field("/input", "the input does not fit a posture rule of type %s", ruleType).WithCause(err)
	}
	return in, nil
}

// saysNothing reports whether a value compares nothing.
func saysNothing(raw json.RawMessage) bool {
	switch strings.TrimSpace(string(raw)) {
	case "null", "false", `""`, "[]", "{}", "0":
		return true
	}
	return false
}

// Validate checks a rule for being written; pointers are those of the wire form.
func (r *Rule) Validate() error {
	evaluated, known := types[r.Type]
	switch {
	case !known:
		return kind.Field("/type", "there is no posture rule type %q", clip(r.Type)).WithHint("they are: %s", strings.Join(slices.Sorted(maps.Keys(types)), ", "))
	case r.Schedule < MinSchedule || r.Schedule > MaxSchedule:
		return kind.Field("/schedule", "a schedule is %s to %s", MinSchedule, MaxSchedule)
	case r.Expiration != 0 && (r.Expiration < r.Schedule || r.Expiration > MaxExpiration):
		return kind.Field("/expiration", "an expiration is not shorter than the schedule (%s), and at most %s", r.Schedule, MaxExpiration)
	}
	for i, p := range r.Platforms {
		if !slices.Contains(slices.Collect(maps.Values(platforms)), p) {
			return kind.Field("/match/"+strconv.Itoa(i)+"/platform", "there is no platform %q", clip(p)).WithHint("they are: linux, mac, windows, android, ios, chromeos")
		}
	}
	if !evaluated {
		return nil
	}
	return r.Input.validate(r.Type)
}

func (in *Input) validate(ruleType string) error {
	for name, v := range map[string]string{
		"path": in.Path, "id": in.ID, "thumbprint": in.Thumbprint, "os_distro_name": in.OSDistroName, "os_distro_revision": in.OSDistroRevision, "os_version_extra": in.OSVersionExtra,
	} {
		if len(v) > maxTextBytes || !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
			return kind.Field("/input/"+name, "the value is at most %d bytes of text without control characters", maxTextBytes)
		}
	}
	if os := in.OperatingSystem; os != "" && !slices.Contains(slices.Collect(maps.Values(platforms)), os) {
		return kind.Field("/input/operating_system", "there is no operating system %q", clip(os)).WithHint("they are: linux, mac, windows, android, ios, chromeos")
	}
	switch ruleType {
	case TypeFile, TypeApplication:
		return in.validateFile()
	case TypeOSVersion:
		return in.validateVersion()
	case TypeSerialNumber, TypeUniqueClientID:
		if in.ID == "" {
			return kind.Field("/input/id", "the rule needs the ID of a list")
		}
	case TypeDiskEncryption:
		if len(in.CheckDisks) > maxDisks {
			return kind.Field("/input/checkDisks", "a rule can name %d disks", maxDisks)
		}
		if len(in.CheckDisks) == 0 && (in.RequireAll == nil || !*in.RequireAll) {
			return kind.Field("/input", "the rule needs requireAll, or checkDisks with at least one disk")
		}
	}
	return nil
}

func (in *Input) validateFile() error {
	switch {
	case in.Path == "":
		return kind.Field("/input/path", "the rule needs a path")
	case in.SHA256 == "":
		return nil
	}
	if raw, err := hex.DecodeString(in.SHA256); err != nil || len(raw) != 32 {
		return kind.Field("/input/sha256", "the digest is not 64 hex digits")
	}
	if in.Exists != nil && !*in.Exists || in.Running != nil && !*in.Running {
		return kind.Field("/input/sha256", "a file that must not be there has no digest")
	}
	return nil
}

var operators = []string{"<", "<=", "==", ">=", ">"}

func (in *Input) validateVersion() error {
	if !slices.Contains(operators, in.Operator) {
		return kind.Field("/input/operator", "the operator is one of %s", strings.Join(operators, " "))
	}
	if _, ok := parseVersion(in.Version); !ok {
		return kind.Field("/input/version", "%q is not a version such as 13.3.0", clip(in.Version))
	}
	return nil
}

// Check is what a device of a system must look at for r; ok is false when there is nothing.
func (r *Rule) Check(os string) (c Check, ok bool) {
	if !r.isFor(os) {
		return c, false
	}
	c = Check{ID: r.ID, Type: r.Type, IntervalSeconds: int(r.Schedule / time.Second)}
	switch r.Type {
	case TypeFile, TypeApplication:
		c.Path, c.SHA256 = r.Input.Path, r.Input.SHA256 != ""
		return c, true
	case TypeDiskEncryption, TypeOSVersion, TypeSerialNumber, TypeUniqueClientID, TypeWARP, TypeGateway:
		return c, true // by the facts, but reported as often
	}
	return c, false
}

// GoodFor is how long a report is good.
func (r *Rule) GoodFor() time.Duration {
	if r.Expiration > 0 {
		return r.Expiration
	}
	return 3*r.Schedule + time.Minute
}

func (r *Rule) isFor(os string) bool {
	p, known := platforms[os]
	if !known || os == "" {
		return false
	}
	return (len(r.Platforms) == 0 || slices.Contains(r.Platforms, p)) && (r.Input.OperatingSystem == "" || r.Input.OperatingSystem == p)
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "..."
	}
	return s
}

// Platform is the API's word for a system that Go calls os; "" for one that it has none for.
func Platform(os string) string {
	if os == "" {
		return ""
	}
	return platforms[os]
}
