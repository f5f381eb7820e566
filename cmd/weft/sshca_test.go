package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/api"
	"weft/control/controltest"
)

func TestSSHCA(t *testing.T) {
	s := controltest.New(t)
	dir := t.TempDir()
	for name, b := range map[string][]byte{"token": []byte(s.Token), "ca.pem": s.Control.CAPEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	weft := func(wantCode int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append(append([]string{"ssh-ca"}, args...), "--control", s.URL, "--token-file", filepath.Join(dir, "token"), "--ca-file", filepath.Join(dir, "ca.pem"))
		if code := run(t.Context(), args, &stdout, &stderr); code != wantCode {
			t.Fatalf("%v: exit code %d: %s%s", args, code, stdout.String(), stderr.String())
		}
		return stdout.String() + stderr.String()
	}
	list := func() (cas api.SSHCAs) {
		t.Helper()
		if err := json.Unmarshal([]byte(weft(exitOK, "list", "--json")), &cas); err != nil {
			t.Fatal(err)
		}
		return cas
	}
	if out := weft(exitOK, "list"); out != "ID  FOR  STATE  CREATED  FINGERPRINT\n" {
		t.Errorf("a new account lists %q", out)
	}
	if out := weft(exitNotFound, "install-hint"); !strings.Contains(out, "gateway_ca") {
		t.Errorf("the hint without a CA is %q", out)
	}
	var user api.GatewayCA
	s.Call(http.MethodPost, s.Account("/access/gateway_ca"), nil, &user)
	weft(exitOK, "rotate")
	weft(exitOK, "rotate")
	cas := list()
	if len(cas.User) != 1 || len(cas.Host) != 2 || !cas.Host[0].Signs || cas.Host[1].Signs {
		t.Fatalf("authorities %+v", cas)
	}
	out := weft(exitOK, "list")
	if strings.Count(out, "\n") != 4 || strings.Count(out, " signs ") != 2 || strings.Count(out, " trusted ") != 1 || !strings.Contains(out, cas.Host[1].Fingerprint) {
		t.Errorf("listed as\n%s", out)
	}
	hint := weft(exitOK, "install-hint")
	for _, want := range []string{
		user.PublicKey, "TrustedUserCAKeys /etc/ssh/weft_user_ca.pub",
		"# @cert-authority weft-gateway " + cas.Host[0].PublicKey, "# @cert-authority weft-gateway " + cas.Host[1].PublicKey,
	} {
		if !strings.Contains(hint, want) {
			t.Errorf("the hint lacks %q:\n%s", want, hint)
		}
	}
	weft(exitConflict, "remove", cas.Host[0].ID)
	weft(exitOK, "remove", cas.Host[1].ID)
	weft(exitNotFound, "remove", "a/b?c")
	weft(exitOK, "remove", "--force", cas.Host[0].ID)
	if left := list(); len(left.Host) != 0 {
		t.Errorf("left %+v", left)
	}
}
