//go:build unix

package cli

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file that is to replace path the owner of path: root may change the file of a user.
func keepOwner(path, file string) error {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid() {
		return nil
	}
	return os.Chown(file, int(st.Uid), int(st.Gid))
}
