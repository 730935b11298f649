package applet

import "runtime/debug"

// linked is the version that the linker set (see scripts/build); a plain `go install` leaves Go's
// build info to tell it.
var linked string

// Version is which binproxy this is: the linker's word, else the module's, else "devel".
func Version() string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
