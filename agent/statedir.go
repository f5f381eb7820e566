package agent

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"

	"weft/internal/kind"
	"weft/internal/localsock"
)

// DefaultStateDir is /var/lib/weft for root (Windows: %ProgramData%\weft for a privileged
// account; macOS: /Library/Application Support/weft), and for a user
// $XDG_STATE_HOME/weft, by default ~/.local/state/weft (Windows: %LocalAppData%\weft;
// macOS: ~/Library/Application Support/weft).
func DefaultStateDir() (string, error) {
	me, err := localsock.Self()
	if err != nil {
		return "", err
	}
	return stateDir(runtime.GOOS, me.Privileged, os.Getenv)
}

// stateDir is DefaultStateDir for any system, so that one test covers all.
func stateDir(goos string, privileged bool, env func(string) string) (string, error) {
	home := env("HOME")
	var dir string
	switch {
	case goos == "windows" && privileged:
		dir = env("ProgramData")
	case goos == "windows":
		dir = env("LocalAppData")
	case goos == "darwin" && privileged:
		dir = "/Library/Application Support"
	case goos == "darwin" && home != "":
		dir = filepath.Join(home, "Library", "Application Support")
	case privileged:
		dir = "/var/lib"
	case env("XDG_STATE_HOME") != "":
		dir = env("XDG_STATE_HOME")
	case home != "":
		dir = filepath.Join(home, ".local", "state")
	}
	if dir == "" {
		return "", kind.New(kind.Invalid, "no state directory is known for this user").
			WithHint("give one with --state-dir").WithCause(errors.New("no home directory in the environment"))
	}
	return filepath.Join(dir, "weft"), nil
}
