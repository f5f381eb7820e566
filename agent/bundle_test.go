package agent_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"weft/agent"
	"weft/agent/localapi"
	"weft/api"
	"weft/cli"
)

// bundleOf makes a bundle as a user does and unpacks it: the bytes of every file, and of their names.
func bundleOf(t *testing.T, socket string, env map[string]string, args ...string) map[string][]byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bundle.zip")
	var out, errs bytes.Buffer
	code := cli.Main(t.Context(), cli.Config{
		Args: append([]string{"--socket", socket, "diag", "--bundle", name}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(k string) string { return env[k] }, Version: "1.2.3",
	})
	if code != 0 && code != 16 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	st, err := os.Stat(name)
	must(t, err)
	if runtime.GOOS != "windows" && st.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode %v", st.Mode())
	}
	z, err := zip.OpenReader(name)
	must(t, err)
	defer func() { _ = z.Close() }()
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		must(t, err)
		files[f.Name], err = io.ReadAll(r)
		must(t, err)
		must(t, r.Close())
	}
	for _, want := range []string{"agent.json", "status.json", "state.json", "checks.json", "log.txt", "warp-cli.json"} {
		if len(files[want]) == 0 {
			t.Errorf("the bundle has no %s", want)
		}
	}
	return files
}

// planted makes an agent and puts secrets where a bundle could find them; it returns them.
func planted(t *testing.T) (w *world, secrets map[string]string) {
	t.Helper()
	proxy := "http://proxyuser:proxy-pa55word@proxy.company.com:3128"
	w = &world{control: newFakeControl(t), gateway: newFakeGateway(t)}
	st := w.gateway.state()
	e := st.Entries["t-b/22/SSH"]
	e.Tags = map[string]string{"db_password": "tag-pa55word"}
	st.Entries["t-b/22/SSH"] = e
	w.control.set(st)
	cfg := testConfig(t)
	cfg.Version = "1.2.3"
	cfg.Diag.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
	w.agent = startAgent(t, cfg)
	enrolment := w.control.enrolment("key-that-is-a-secret", 2)
	_, err := w.agent.Register(t.Context(), enrolment)
	must(t, err)
	w.gateway.admit(w.control.devicePublicKey())
	w.connect(t)
	key, token, err := w.agent.SecretsForTest(t.Context())
	must(t, err)
	raw, err := base64.StdEncoding.DecodeString(key)
	must(t, err)
	connector := api.ConnectorToken{AccountID: "acc", TunnelID: "11111111-2222-3333-4444-555555555555", Secret: []byte("connector-secret-0123456789")}
	encoded := connector.Encode()
	secrets = map[string]string{
		"private key": key, "private key in hex": hex.EncodeToString(raw), "private key in URL base64": base64.URLEncoding.EncodeToString(raw),
		"device token": token, "device token in base64": base64.StdEncoding.EncodeToString([]byte(token)), "device token in hex": hex.EncodeToString([]byte(token)),
		"enrolment string": strings.TrimPrefix(enrolment, "weft1."), "connector token": encoded, "proxy password": "proxy-pa55word", "tag": "tag-pa55word",
		"URL password": "url-pa55word", "field": "field-pa55word", "bearer": "bearer-pa55word", "state file": "file-pa55word", "API token": "weft_api_0123456789abcdef",
		"certificate": "TUlJQmZqQ0NBU1dnQXdJQkFnSVVDZXJ0", "SSH key": "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU",
	}
	log := w.agent.LogForTest()
	for name, s := range secrets {
		switch name {
		case "URL password":
			log.Warn("proxy", "url", "https://jdoe:"+s+"@intern.company.com/path?x=1")
		case "field":
			log.Error("login failed", "password", s, "body", `{"client_secret":"`+s+`","inner":"{\"token\":\"`+s+`\"}"}`)
		case "bearer":
			log.Info("request", "header", "Authorization: Bearer "+s)
		case "certificate":
			log.Info("chain", "pem", "-----BEGIN CERTIFICATE-----\n"+s+"\n-----END CERTIFICATE-----")
		case "SSH key":
			log.Info("key", "pem", "-----BEGIN OPENSSH PRIVATE KEY-----\n"+s+"\n-----END OPENSSH PRIVATE KEY-----")
		case "proxy password", "tag", "state file":
		case "enrolment string":
			log.Info("registration", "enrolment", enrolment, "again", enrolment)
		default:
			log.Info("a careless line", "value", s, "again", name+"="+s+",")
		}
	}
	log.Info("who and where", "email", "jdoe@company.com", "host", "az-target", "addr", target4.String(), "v6", target6.String(), "user", "alice")
	must(t, os.WriteFile(filepath.Join(cfg.StateDir, "notes.json"), []byte(`{"password":"file-pa55word"}`), 0o600))
	return w, secrets
}

func TestBundle_HoldsNoSecrets(t *testing.T) {
	w, secrets := planted(t)
	env := map[string]string{"HTTPS_PROXY": "http://proxyuser:proxy-pa55word@proxy.company.com:3128", "USER": "jdoe-os"}
	for _, args := range [][]string{nil, {"--anonymize"}} {
		files := bundleOf(t, w.agent.cfg.Socket, env, args...)
		for file, data := range files {
			for name, s := range secrets {
				if bytes.Contains(data, []byte(s)) || bytes.Contains(data, []byte(url.QueryEscape(s))) || bytes.Contains(data, []byte(strings.ReplaceAll(s, "/", `\/`))) {
					t.Errorf("%v: %s holds the %s", args, file, name)
				}
			}
		}
		if !bytes.Contains(files["log.txt"], []byte("a careless line")) || !bytes.Contains(files["log.txt"], []byte("[redacted]")) {
			t.Errorf("%v: the log is not what was logged:\n%s", args, files["log.txt"])
		}
	}
}

func TestBundle_Anonymize(t *testing.T) {
	w, _ := planted(t)
	names := []string{"jdoe@company.com", "company.com", "az-target", "do-target", target4.String(), target6.String(), "a1net", "b1net", "alice", "device-1", "account-1"}
	plain, anonymous := bundleOf(t, w.agent.cfg.Socket, nil), bundleOf(t, w.agent.cfg.Socket, nil, "--anonymize")
	for file, data := range anonymous {
		for _, n := range names {
			if bytes.Contains(data, []byte(n)) {
				t.Errorf("%s holds %s:\n%s", file, n, data)
			}
		}
	}
	if !bytes.Contains(plain["status.json"], []byte("jdoe@company.com")) {
		t.Error("without --anonymize the address of the user is gone, too")
	}
	// The same in all files.
	mail := func(data []byte) string {
		_, rest, _ := strings.Cut(string(data), `"email": "`)
		word, _, _ := strings.Cut(rest, `"`)
		return word
	}
	if one, other := mail(anonymous["agent.json"]), mail(anonymous["status.json"]); one != other || !strings.Contains(one, "@") {
		t.Errorf("%q in one file, %q in the other", one, other)
	}
}

func TestBundle_Unregistered(t *testing.T) {
	a := startAgent(t, testConfig(t))
	b, err := a.Bundle(t.Context(), localapi.BundleRequest{Anonymize: true})
	must(t, err)
	if len(b.Files) != 5 {
		t.Errorf("%d files", len(b.Files))
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"version":1,"revision":7,"steps":[{"step":"route","state":"ok"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if a, err := agent.ParseAnswerForTest(line); err == nil && a.Version != api.FlowAnswerVersion {
			t.Errorf("%q gave %+v", line, a)
		}
	})
}
