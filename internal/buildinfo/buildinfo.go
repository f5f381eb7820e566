// Package buildinfo says which build of Weft a program is.
package buildinfo

import "runtime/debug"

// version is set by the linker (see the Makefile).
var version = ""

// Version returns the version of the build: the linker's, else the module's,
// else the revision it was built from, else "dev".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}
