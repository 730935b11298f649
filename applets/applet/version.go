package applet

import "runtime/debug"

// linked is the version that the linker set (see scripts/build); a plain `go install` leaves it to
// Go's build info.
var linked string

// Version is the version of this binproxy: the linker's, else the module's, else "devel".
func Version() string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
