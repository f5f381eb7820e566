package agent

import (
	"errors"
	"testing"

	"github.com/zalando/go-keyring"
)

// The Credential Manager keeps, returns and forgets a secret of the size of ours.
func TestKeyring_CredentialManager(t *testing.T) {
	const service, user = "weft-test", "device-0000"
	secret := `{"private_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","token":"` + t.Name() + `"}`
	var ring osKeyring
	if err := ring.Set(service, user, secret); err != nil {
		t.Fatal(err)
	}
	got, err := ring.Get(service, user)
	if err != nil || got != secret {
		t.Errorf("get = %q, %v", got, err)
	}
	if err := ring.Delete(service, user); err != nil {
		t.Error(err)
	}
	if _, err := ring.Get(service, user); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("get after delete: %v", err)
	}
}
