// Package mdm reads the administrator's settings file: JSON, or the plist-style <dict> that device management tools
// write. It is read strictly and within bounds, because a setting that is silently not in force is worse than an
// error. What it holds wins over what the user chose.
package mdm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"weft/agent/fault"
)

// Bounds of a file.
const (
	MaxBytes  = 64 << 10
	maxKeys   = 128
	maxString = 8 << 10
)

// Policy is what the file says. Pointers are nil for what it does not mention.
type Policy struct {
	Organization string
	DisplayName  string
	SupportURL   string
	// Mode is "proxy" or "tunnel_only".
	Mode      *string
	ProxyPort *uint16
	// AutoConnectMinutes is 0 to 1440; 0: never.
	AutoConnectMinutes *int
	Protocol           *string
	Endpoint           *string // HOST:PORT
	SwitchLocked       *bool
	// Enrolment is the enrolment string, or EnrolmentFile names the file that holds it.
	Enrolment     string
	EnrolmentFile string
	// Values are the keys as written, by key, secrets redacted; Ignored the keys that mean nothing here.
	Values  []Value
	Ignored []string
}

// Value is one key as written.
type Value struct{ Key, Value string }

// entry is a value of the file before it means anything.
type entry struct {
	kind  string // "string", "integer", "boolean"
	text  string
	truth bool
}

// ignored are keys of the files that administrators may already have; they steer what Weft does not do.
var ignored = []string{
	"allow_managed_deployments", "enable_netbt", "enable_pmtud", "enable_post_quantum", "environment",
	"external_emergency_signal_fingerprint", "external_emergency_signal_interval", "external_emergency_signal_url",
	"gateway_unique_id", "local_emergency_signal_enabled", "onboarding", "override_api_endpoint", "override_doh_endpoint",
	"pre_login", "unique_client_id",
}

// Parse reads a file's content. An error names the key.
func Parse(b []byte) (*Policy, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	var entries map[string]entry
	var err error
	switch text := strings.TrimLeft(strings.TrimPrefix(string(b), "\ufeff"), " \t\r\n"); {
	case strings.HasPrefix(text, "{"):
		entries, err = parseJSON(text)
	case strings.HasPrefix(text, "<"):
		entries, err = parsePlist(text)
	default:
		return nil, errors.New("neither a JSON object nor a plist <dict>")
	}
	if err != nil {
		return nil, err
	}
	p := &Policy{}
	for key := range entries {
		if err := p.take(key, entries[key]); err != nil {
			return nil, fmt.Errorf("key %q: %w", fault.Clip(key), err)
		}
	}
	if p.Enrolment != "" && p.EnrolmentFile != "" {
		return nil, errors.New("both enrolment and enrolment_file are given")
	}
	slices.SortFunc(p.Values, func(a, b Value) int { return strings.Compare(a.Key, b.Key) })
	slices.Sort(p.Ignored)
	return p, nil
}

// take gives one key its meaning.
func (p *Policy) take(key string, e entry) error {
	shown := e.text
	var err error
	switch key {
	case "organization":
		p.Organization, err = e.word()
	case "display_name":
		p.DisplayName, err = e.word()
	case "support_url":
		p.SupportURL, err = e.address()
	case "service_mode", "operation_mode":
		err = p.mode(e)
	case "proxy_port":
		var n int
		n, err = e.number(1, 65535)
		port := uint16(n)
		p.ProxyPort = &port
	case "auto_connect":
		var n int
		n, err = e.number(0, 1440)
		p.AutoConnectMinutes = &n
	case "warp_tunnel_protocol", "tunnel_protocol":
		err = p.protocol(e)
	case "override_warp_endpoint", "tunnel_endpoint":
		err = p.endpoint(e)
	case "switch_locked":
		if e.kind != "boolean" {
			return errors.New("want true or false")
		}
		p.SwitchLocked = &e.truth
	case "enrolment":
		p.Enrolment, err = e.word()
		shown = "(redacted)"
	case "enrolment_file":
		if p.EnrolmentFile, err = e.word(); err == nil && !filepath.IsAbs(p.EnrolmentFile) {
			err = errors.New("want an absolute path")
		}
	case "auth_client_id", "auth_client_secret":
		return errors.New("service credentials are not a way to enrol here; give enrolment_file, the path of a file with an enrolment string")
	case "configs", "multi_user", "organization_configs":
		return errors.New("several organizations in one file are not offered")
	default:
		if !slices.Contains(ignored, key) {
			return errors.New("no such key")
		}
		p.Ignored = append(p.Ignored, key)
		return nil
	}
	if err != nil {
		return err
	}
	p.Values = append(p.Values, Value{key, shown})
	return nil
}

// Modes of other clients by what they are called here.
var modes = map[string]string{
	"proxy": "proxy", "tunnel_only": "tunnel_only", "tunnelonly": "tunnel_only",
}

func (p *Policy) mode(e entry) error {
	s, err := e.word()
	if err != nil {
		return err
	}
	m, ok := modes[s]
	if !ok {
		return fmt.Errorf("mode %q is not offered; want proxy or tunnel_only", fault.Clip(s))
	}
	if p.Mode != nil {
		return errors.New("the mode is given twice")
	}
	p.Mode = &m
	return nil
}

func (p *Policy) protocol(e entry) error {
	s, err := e.word()
	if err != nil {
		return err
	}
	if s != "wireguard" {
		return fmt.Errorf("protocol %q is not offered; want wireguard", fault.Clip(s))
	}
	if p.Protocol != nil {
		return errors.New("the protocol is given twice")
	}
	p.Protocol = &s
	return nil
}

func (p *Policy) endpoint(e entry) error {
	s, err := e.word()
	if err != nil {
		return err
	}
	if err := CheckEndpoint(s); err != nil {
		return err
	}
	if p.Endpoint != nil {
		return errors.New("the endpoint is given twice")
	}
	p.Endpoint = &s
	return nil
}

// CheckEndpoint reports whether s is HOST:PORT.
func CheckEndpoint(s string) error {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || host == "" || n == 0 || strings.ContainsAny(host, " /@") {
		return fmt.Errorf("%q is not HOST:PORT", fault.Clip(s))
	}
	return nil
}

func (e entry) word() (string, error) {
	if e.kind != "string" {
		return "", fmt.Errorf("want text, not %s", e.kind)
	}
	if e.text == "" || e.text != strings.TrimSpace(e.text) || strings.ContainsFunc(e.text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("the text is empty, or has blanks around it or control characters in it")
	}
	return e.text, nil
}

func (e entry) address() (string, error) {
	s, err := e.word()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "mailto" {
		return "", errors.New("want an https, http or mailto address")
	}
	return s, nil
}

func (e entry) number(least, most int) (int, error) {
	n, err := strconv.Atoi(e.text)
	if e.kind != "integer" || err != nil || n < least || n > most {
		return 0, fmt.Errorf("want a number from %d to %d", least, most)
	}
	return n, nil
}

// Paths is where the file is looked for on this system; the first that exists is in force.
func Paths() []string { return paths(runtime.GOOS, os.Getenv) }

// paths is Paths for any system, so that one test covers all.
func paths(goos string, env func(string) string) []string {
	switch goos {
	case "windows":
		dir := env("ProgramData")
		if dir == "" {
			dir = `C:\ProgramData`
		}
		return []string{dir + `\weft\mdm.json`, dir + `\weft\mdm.xml`}
	case "darwin":
		return []string{
			"/Library/Managed Preferences/org.weft.agent.plist",
			"/Library/Application Support/weft/mdm.json", "/Library/Application Support/weft/mdm.xml",
		}
	default:
		return []string{"/etc/weft/mdm.json", "/etc/weft/mdm.xml"}
	}
}

// Load reads the first file of paths that exists. No file is a nil policy. A file that an ordinary user could have
// written is refused: it would let that user change what every user of the machine gets.
func Load(paths []string) (p *Policy, path string, err error) {
	for _, path := range paths {
		b, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			p, err = Parse(b)
		}
		if err != nil {
			return nil, path, fmt.Errorf("read managed settings %s: %w", path, err)
		}
		return p, path, nil
	}
	return nil, "", nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading
	if err := trusted(f); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	return b, nil
}

// Enrols reports whether the file says how a device is registered.
func (p *Policy) Enrols() bool { return p.Enrolment != "" || p.EnrolmentFile != "" }

// ReadEnrolment reads the enrolment string that p names.
func (p *Policy) ReadEnrolment() (string, error) {
	if p.EnrolmentFile == "" {
		return p.Enrolment, nil
	}
	b, err := readFile(p.EnrolmentFile)
	if err != nil {
		return "", fmt.Errorf("read enrolment_file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
