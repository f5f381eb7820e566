//go:build unix

package gateway

import (
	"os"
	"syscall"
)

// giveTo makes a file belong to whom another one belonged: an administrator who is root must not take it from the gateway.
func giveTo(path string, like os.FileInfo) error {
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return os.Chown(path, int(st.Uid), int(st.Gid))
}
