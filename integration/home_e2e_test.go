//go:build e2e && linux

package integration_test

import (
	"os/user"
	"sync"
)

// accountHome is the home folder that the account database has for unixUser: ssh and sshd look there and not into HOME, so
// that is where tests mount the homes that they made.
var accountHome = sync.OnceValue(func() string {
	u, err := user.Lookup(unixUser)
	if err != nil {
		panic(err) // the tests run as this user
	}
	return u.HomeDir
})
