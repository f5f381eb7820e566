package statefile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"weft/agent/statefile"
)

// Ordinary users may read below %ProgramData%; not what the agent keeps there.
func TestOpen_AccessControl(t *testing.T) {
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		t.Skip("Wine keeps Unix modes, not access control lists")
	}
	path := filepath.Join(os.Getenv("ProgramData"), "weft-statefile-test")
	d, err := statefile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(path) }()
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	u, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	text := sd.String()
	t.Log(text)
	for ace := range strings.SplitSeq(text, "(") {
		who := ace[strings.LastIndexByte(ace, ';')+1:]
		who, _, ok := strings.Cut(who, ")")
		if ok && who != "SY" && who != "BA" && who != u.User.Sid.String() {
			t.Errorf("%s may enter: %s", who, text)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(path, "lock")); err != nil {
		t.Error(err)
	}
}
