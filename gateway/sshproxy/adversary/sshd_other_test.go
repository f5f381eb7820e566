//go:build !unix

package adversary_test

import "testing"

func startSSHD(t *testing.T, _ *world) string {
	t.Helper()
	t.Skip("no OpenSSH server here")
	return ""
}
