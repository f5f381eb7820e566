package sshca_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"weft/control/sshca"
)

// agentKeys keeps the keys in an SSH agent at the other end of a connection, as a device would: a reference is a fingerprint.
type agentKeys struct{ client agent.ExtendedAgent }

var _ sshca.KeySource = agentKeys{}

func newAgentKeys(t *testing.T) agentKeys {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan error, 1)
	keyring := agent.NewKeyring()
	go func() { done <- agent.ServeAgent(keyring, there) }()
	t.Cleanup(func() {
		if err := here.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	return agentKeys{agent.NewClient(here)}
}

func (k agentKeys) Generate(_ context.Context, a sshca.Algorithm) (ssh.PublicKey, []byte, error) {
	var private any
	var public any
	if a == sshca.ED25519 {
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		private, public = &key, pub
	} else {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		private, public = key, key.Public()
	}
	if err := k.client.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		return nil, nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, nil, err
	}
	return key, []byte(ssh.FingerprintSHA256(key)), nil
}

func (k agentKeys) Signer(_ context.Context, reference []byte) (sshca.Signer, error) {
	signers, err := k.client.Signers()
	if err != nil {
		return nil, err
	}
	for _, s := range signers {
		if ssh.FingerprintSHA256(s.PublicKey()) == string(reference) {
			return s, nil
		}
	}
	return nil, errors.New("no such key")
}

func (k agentKeys) Destroy(_ context.Context, reference []byte) error {
	keys, err := k.client.List()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if parsed, err := ssh.ParsePublicKey(key.Blob); err == nil && bytes.Equal(reference, []byte(ssh.FingerprintSHA256(parsed))) {
			return k.client.Remove(key)
		}
	}
	return nil
}

func TestKeySource_DestroyedKeysAreGone(t *testing.T) {
	keys := newAgentKeys(t)
	_, reference, err := keys.Generate(t.Context(), sshca.ED25519)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := keys.Destroy(t.Context(), reference); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Signer(t.Context(), reference); err == nil {
			t.Error("it still signs")
		}
	}
}
