//go:build unix

package mdm

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// trusted refuses a file that somebody else than root and this account could have written.
func trusted(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to uid %d; it must belong to root", st.Uid)
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("its mode %04o lets others write it", fi.Mode().Perm())
	}
	return nil
}
