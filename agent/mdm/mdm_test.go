package mdm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/agent/mdm"
)

const plistFile = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <!-- as other clients have it -->
  <key>organization</key><string>acme</string>
  <key>service_mode</key><string>tunnelonly</string>
  <key>proxy_port</key><integer>4321</integer>
  <key>auto_connect</key><integer>15</integer>
  <key>switch_locked</key><true/>
  <key>warp_tunnel_protocol</key><string>wireguard</string>
  <key>override_warp_endpoint</key><string>gw.acme.example:443</string>
  <key>enrolment</key><string>weft1.secret</string>
  <key>onboarding</key><false/>
</dict>
</plist>
`

const jsonFile = `{"organization": "acme", "operation_mode": "tunnel_only", "proxy_port": 4321, "auto_connect": 15, "switch_locked": true,
 "tunnel_protocol": "wireguard", "tunnel_endpoint": "gw.acme.example:443", "enrolment": "weft1.secret", "onboarding": false}`

func TestParse(t *testing.T) {
	mode, protocol, endpoint := "tunnel_only", "wireguard", "gw.acme.example:443"
	port, minutes, locked := uint16(4321), 15, true
	want := &mdm.Policy{
		Organization: "acme", Mode: &mode, ProxyPort: &port, AutoConnectMinutes: &minutes, SwitchLocked: &locked,
		Protocol: &protocol, Endpoint: &endpoint, Enrolment: "weft1.secret", Ignored: []string{"onboarding"},
	}
	for _, tt := range []struct{ name, text string }{
		{"plist", plistFile},
		{"a bare dict", plistFile[strings.Index(plistFile, "<dict>"):strings.Index(plistFile, "</plist>")]},
		{"JSON", jsonFile},
		{"JSON with a byte order mark", "\ufeff" + jsonFile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := mdm.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range p.Values {
				if strings.Contains(v.Value, "secret") {
					t.Errorf("key %s shows the secret", v.Key)
				}
			}
			if len(p.Values) != 8 {
				t.Errorf("values %v", p.Values)
			}
			p.Values = nil
			if diff := cmp.Diff(want, p); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, tt := range []struct{ name, text, says string }{
		{"nothing", "", "neither"},
		{"text", "organization=acme", "neither"},
		{"an unknown key", `{"proxyport": 1}`, "no such key"},
		{"a key twice", `{"proxy_port": 1, "proxy_port": 2}`, "twice"},
		{"a key twice in a plist", `<dict><key>organization</key><string>a</string><key>organization</key><string>b</string></dict>`, "twice"},
		{"a key and its other name", `{"service_mode": "proxy", "operation_mode": "proxy"}`, "twice"},
		{"a number as text", `{"proxy_port": "4321"}`, "want a number"},
		{"a port too large", `{"proxy_port": 65536}`, "65535"},
		{"a fraction", `{"proxy_port": 1.5}`, "want a number"},
		{"auto_connect out of range", `{"auto_connect": 1441}`, "1440"},
		{"a truth as text", `{"switch_locked": "true"}`, "true or false"},
		{"a mode of other clients", `{"service_mode": "warp"}`, "proxy or tunnel_only"},
		{"a protocol of other clients", `{"warp_tunnel_protocol": "masque"}`, "wireguard"},
		{"an endpoint without a port", `{"tunnel_endpoint": "gw"}`, "HOST:PORT"},
		{"service credentials", `{"auth_client_secret": "x"}`, "enrolment_file"},
		{"several organizations", `<dict><key>configs</key><string>x</string></dict>`, "not offered"},
		{"a relative path", `{"enrolment_file": "key"}`, "absolute"},
		{"two ways to enrol", `{"enrolment": "a", "enrolment_file": "/b"}`, "both"},
		{"a nested object", `{"organization": {}}`, "want text"},
		{"a nested dict", `<dict><key>organization</key><dict></dict></dict>`, "not accepted"},
		{"an array", `<dict><key>organization</key><array/></dict>`, "not accepted"},
		{"an element in a value", `<dict><key>organization</key><string><b/></string></dict>`, "inside a value"},
		{"text between", `<dict>x<key>organization</key><string>a</string></dict>`, "outside an element"},
		{"a value without a key", `<dict><string>a</string></dict>`, "<key> should be"},
		{"a key without a value", `<dict><key>organization</key></dict>`, "should begin"},
		{"cut off", `<dict><key>organization</key><string>a</string>`, "EOF"},
		{"JSON cut off", `{"organization": "a"`, "EOF"},
		{"more behind", `{"organization": "a"} {}`, "follows"},
		{"more behind a dict", `<dict></dict><dict></dict>`, "follows"},
		{"declared entities", `<!DOCTYPE x [<!ENTITY a "b">]><dict></dict>`, "DOCTYPE"},
		{"an unknown entity", `<dict><key>organization</key><string>&a;</string></dict>`, "entity"},
		{"a control character", "{\"organization\": \"a\\u0007\"}", "control characters"},
		{"a script for an address", `{"support_url": "javascript:x"}`, "https"},
		{"too large", `{"organization": "` + strings.Repeat("x", mdm.MaxBytes) + `"}`, "bytes"},
		{"a value too long", `{"organization": "` + strings.Repeat("x", 10_000) + `"}`, "longer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := mdm.Parse([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %+v, %v; want an error that says %q", p, err, tt.says)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "mdm.json"), filepath.Join(dir, "mdm.xml")
	if p, path, err := mdm.Load([]string{first, second}); p != nil || path != "" || err != nil {
		t.Errorf("without a file: %v, %q, %v", p, path, err)
	}
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(second, plistFile, 0o600)
	if p, path, err := mdm.Load([]string{first, second}); p == nil || path != second || err != nil {
		t.Errorf("the second file: %v, %q, %v", p, path, err)
	}
	write(first, `{"proxy_port": 0}`, 0o600)
	if _, path, err := mdm.Load([]string{first, second}); path != first || err == nil {
		t.Errorf("a damaged first file: %q, %v; want an error, not the second file", path, err)
	}
	write(first, `{"proxy_port": 1}`, 0o666)
	if _, _, err := mdm.Load([]string{first}); err == nil || !strings.Contains(err.Error(), "others write") {
		t.Errorf("a file that others may write: %v", err)
	}
	key := filepath.Join(dir, "key")
	write(key, " weft1.x\n", 0o600)
	p := mdm.Policy{EnrolmentFile: key}
	if s, err := p.ReadEnrolment(); s != "weft1.x" || err != nil {
		t.Errorf("enrolment %q, %v", s, err)
	}
}

func TestPaths(t *testing.T) {
	env := func(string) string { return `D:\Data` }
	for goos, want := range map[string]string{
		"linux": "/etc/weft/mdm.json", "freebsd": "/etc/weft/mdm.json", "darwin": "/Library/Managed Preferences/org.weft.agent.plist",
		"windows": `D:\Data\weft\mdm.json`,
	} {
		if got := mdm.PathsFor(goos, env); got[0] != want {
			t.Errorf("%s: %v", goos, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(plistFile))
	f.Add([]byte(jsonFile))
	f.Add([]byte(`<dict><key>organization</key><array/></dict>`))
	f.Add([]byte(`{"proxy_port": 1e3}`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><dict></dict>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := mdm.Parse(b)
		if (p == nil) == (err == nil) {
			t.Fatalf("policy %v and error %v", p, err)
		}
		if p == nil {
			return
		}
		if p.Mode != nil && *p.Mode != "proxy" && *p.Mode != "tunnel_only" || p.ProxyPort != nil && *p.ProxyPort == 0 {
			t.Errorf("policy %+v", p)
		}
		if p.Enrolment != "" {
			for _, v := range p.Values {
				if v.Key == "enrolment" && v.Value != "(redacted)" {
					t.Errorf("the secret is shown: %+v", v)
				}
			}
		}
	})
}
