// Package need checks what a test needs of the machine, and skips the test with the reason if that
// is missing.
//
// Two kinds of things can be missing. What `make test` installs (programs, emulators, cached
// roots) must exist when CI=true: otherwise the test fails. What no installation brings (a kernel
// feature, root, a terminal) skips everywhere. Every reason starts with "needs ", so that the
// summary at the end of `make test` can count skips by reason.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Installed skips the test, or fails it under CI=true, for a thing that `make test` installs.
func Installed(t testing.TB, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("CI") == "true":
		t.Fatalf("needs %s, which `make test` should have brought", what)
	default:
		t.Skipf("needs %s", what)
	}
}

// Given skips the test for a thing that the machine has or lacks.
func Given(t testing.TB, ok bool, what string) {
	t.Helper()
	if !ok {
		t.Skipf("needs %s", what)
	}
}

// LongReason is the reason with which Long skips.
const LongReason = "needs the long run: make test-all"

// Long skips the test in the short run.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip(LongReason)
	}
}

// everything asks for tests that take much longer than what they add is worth, such as every cell
// of a table.
const everything = "BINPROXY_TEST_EVERYTHING"

// IsEverything reports whether such tests are asked for.
func IsEverything() bool { return os.Getenv(everything) != "" }

// Everything skips the test unless such tests are asked for.
func Everything(t testing.TB) {
	t.Helper()
	if !IsEverything() {
		t.Skip("is run on request: " + everything + "=1")
	}
}

// Program finds a program in PATH and the sbin directories; pkg is the Debian package that has it.
// A GNU compiler needs its C library, too: that is another package, which may be missing.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			library(t, path)
			return path
		}
	}
	Installed(t, false, name+" (package "+pkg+whyLacking(pkg)+")")
	return ""
}

// Root skips the test for an ordinary user.
func Root(t testing.TB) {
	t.Helper()
	Given(t, os.Geteuid() == 0, "root")
}

// Emulator finds the static qemu-user for QEMU's name of an architecture.
func Emulator(t testing.TB, qemu string) string {
	t.Helper()
	return Program(t, "qemu-"+qemu+"-static", "qemu-user-static")
}
