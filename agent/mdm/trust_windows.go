package mdm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// trusted refuses a file that belongs to an ordinary account. Everybody may make files below ProgramData.
func trusted(f *os.File) error {
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("read its owner: %w", err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("read its owner: %w", err)
	}
	if !owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) && !owner.IsWellKnown(windows.WinLocalSystemSid) {
		return errors.New("it belongs to neither the administrators nor the system")
	}
	return nil
}
