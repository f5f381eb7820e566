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
	weft(exitConflict, "rotate")
	weft(exitInvalid, "create", "--algorithm", "rsa")
	weft(exitOK, "create", "--algorithm", "ed25519")
	if out := weft(exitConflict, "create"); !strings.Contains(out, "weft ssh-ca rotate") {
		t.Errorf("a second says %q", out)
	}
	weft(exitOK, "rotate", "--host")
	weft(exitOK, "rotate", "--host")
	weft(exitUsage, "rotate", "--host", "--algorithm", "ed25519")
	weft(exitOK, "rotate")
	cas := list()
	if len(cas.User) != 2 || cas.User[0].State != api.UserCASigns || cas.User[0].Algorithm != "ed25519" || cas.User[1].State != api.UserCANext ||
		cas.User[1].Algorithm != "ecdsa-p256" || len(cas.Host) != 2 || !cas.Host[0].Signs || cas.Host[1].Signs {
		t.Fatalf("authorities %+v", cas)
	}
	out := weft(exitOK, "list")
	if strings.Count(out, "\n") != 5 || strings.Count(out, " signs ") != 2 || strings.Count(out, " trusted ") != 1 || strings.Count(out, " next ") != 1 ||
		!strings.Contains(out, cas.Host[1].Fingerprint) || !strings.Contains(out, cas.User[1].Fingerprint) {
		t.Errorf("listed as\n%s", out)
	}
	hint := weft(exitOK, "install-hint")
	for _, want := range []string{
		cas.User[0].PublicKey, cas.User[1].PublicKey, "TrustedUserCAKeys /etc/ssh/weft_user_ca.pub",
		"# @cert-authority weft-gateway " + cas.Host[0].PublicKey, "# @cert-authority weft-gateway " + cas.Host[1].PublicKey,
	} {
		if !strings.Contains(hint, want) {
			t.Errorf("the hint lacks %q:\n%s", want, hint)
		}
	}
	weft(exitConflict, "remove", cas.User[0].ID)
	weft(exitNotFound, "activate", "a/b?c")
	if out := weft(exitOK, "activate", cas.User[1].ID); !strings.Contains(out, "signs") {
		t.Errorf("activated: %q", out)
	}
	if now := list().User; now[0].ID != cas.User[1].ID || now[1].State != api.UserCATrusted {
		t.Errorf("after it was activated: %+v", now)
	}
	krl := filepath.Join(dir, "krl")
	weft(exitOK, "krl", "-o", krl)
	weft(exitOK, "remove", cas.User[0].ID)
	if out := weft(exitOK, "krl"); !strings.Contains(out, cas.User[0].Fingerprint) {
		t.Errorf("the list shows %q", out)
	}
	before, err := os.ReadFile(krl)
	if err != nil {
		t.Fatal(err)
	}
	weft(exitOK, "krl", "-o", krl)
	if after, err := os.ReadFile(krl); err != nil || bytes.Equal(before, after) {
		t.Errorf("the file is %x, %v", after, err)
	}
	weft(exitNotFound, "krl", "-o", filepath.Join(dir, "none", "krl"))
	s.Call(http.MethodDelete, s.Account("/access/gateway_ca/"+cas.User[1].ID), nil, nil)
	weft(exitConflict, "remove", cas.Host[0].ID)
	weft(exitOK, "remove", cas.Host[1].ID)
	weft(exitNotFound, "remove", "a/b?c")
	weft(exitOK, "remove", "--force", cas.Host[0].ID)
	if left := list(); len(left.Host)+len(left.User) != 0 {
		t.Errorf("left %+v", left)
	}
}
