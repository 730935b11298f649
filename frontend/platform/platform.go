// Package platform says which platforms a machine cannot run.
package platform

import ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

// Foreign reports whether programs of the platform need an emulator on a machine whose own
// platform is native. Both are normalized.
func Foreign(native, asked ocispecs.Platform) bool {
	switch {
	case asked.OS != "linux", asked.Architecture == native.Architecture:
		return false
	case native.Architecture == "amd64" && asked.Architecture == "386":
		return false
	}
	return true
}
