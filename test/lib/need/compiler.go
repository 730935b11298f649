package need

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"binproxy/emu/arch"
)

// library skips the test if the program is a GNU compiler without a C library to link with.
func library(t testing.TB, compiler string) {
	t.Helper()
	name := filepath.Base(compiler)
	triplet, ok := strings.CutSuffix(strings.Replace(name, "g++", "gcc", 1), "gcc")
	triplet = strings.TrimSuffix(triplet, "-")
	pkg := libraryPackage(triplet)
	if !ok || pkg == "" {
		return
	}
	// The answer is the bare name if there is no such file.
	out, err := exec.Command(compiler, "-print-file-name=crt1.o").Output()
	Installed(t, err == nil && filepath.IsAbs(strings.TrimSpace(string(out))), "a C library for "+name+" (package "+pkg+whyLacking(pkg)+")")
}

// libraryPackage is the Debian package with the C library of a GNU triplet; "" if Debian has none,
// or if the triplet is musl's.
func libraryPackage(triplet string) string {
	if triplet == "" || triplet == arch.Host().GNU {
		return "libc6-dev"
	}
	for _, abi := range arch.All() {
		if abi.GNU == triplet && abi.Debian != "" {
			return "libc6-dev-" + abi.Debian + "-cross"
		}
	}
	return ""
}
