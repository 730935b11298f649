package single

import (
	"path/filepath"
	"slices"
	"strings"

	"binproxy/emu/arch"
)

// BuildKit's plug for emulators (solver/llbsolver/ops/exec_binfmt.go). For a command of another
// architecture, BuildKit looks for a program buildkit-qemu-ARCH in the PATH of its daemon, mounts
// a copy of that file into the container, and puts the copy's path before the command's arguments.
// The program has to route what the command executes.
const (
	buildKitPrefix = "buildkit-qemu-"
	buildKitMount  = ".buildkit_qemu_emulator" // in /dev
)

// inBuildKit are the emulators that BuildKit calls by QEMU's name of the architecture. It calls
// all others by OCI's.
var inBuildKit = []string{"aarch64", "arm", "i386", "ppc64le", "riscv64", "s390x", "x86_64"}

// BuildKitName is the name under which BuildKit looks for the ABI's emulator; "" for an ABI
// without an OCI platform.
func BuildKitName(abi *arch.ABI) string {
	switch {
	case len(abi.Platforms) == 0:
		return ""
	case slices.Contains(inBuildKit, abi.QEMU):
		return buildKitPrefix + abi.QEMU
	}
	return buildKitPrefix + abi.Platforms[0]
}

// ForBuildKit reports whether a program with this path was called as BuildKit's emulator.
func ForBuildKit(path string) bool {
	name := filepath.Base(path)
	return name == buildKitMount || strings.HasPrefix(name, buildKitPrefix)
}
