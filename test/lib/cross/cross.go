// Package cross compiles the tests' C programs for guests' ABIs with one compiler, Debian's clang
// and lld.
//
// The headers and libraries are those of Debian's cross compilers, with glibc for all ABIs:
// packages of any architecture, which the machine's own apt installs. A C program without a libc
// needs only the compiler; a Go program (package built) does not even need that.
package cross

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"binproxy/emu/arch"
	"binproxy/test/lib/need"
)

// Libc is the directory with the headers and libraries of the ABI's glibc; QEMU takes it as a
// prefix (-L).
func Libc(t testing.TB, abi *arch.ABI) string {
	t.Helper()
	dir := "/usr/" + triplet(abi)
	_, err := os.Stat(filepath.Join(dir, "lib/crt1.o"))
	need.Installed(t, err == nil, "the C library of "+abi.Name+" (package libc6-dev-"+abi.Debian+"-cross)")
	return dir
}

// triplet is Debian's name in the ABI's cross compiler and its directories.
func triplet(abi *arch.ABI) string { return strings.Replace(abi.GNU, "i386", "i686", 1) }

// Compile compiles a dynamic program.
func Compile(t testing.TB, abi *arch.ABI, source, out string, flags ...string) {
	t.Helper()
	dir, clang := Libc(t, abi), need.Program(t, "clang-19", "clang-19")
	need.Program(t, "ld.lld-19", "lld-19")
	at := func(name string) string { return filepath.Join(dir, "lib", name) }
	args := []string{
		"--target=" + triplet(abi), "-O1", "-nostdlibinc", "-isystem", filepath.Join(dir, "include"), "-fuse-ld=lld", "-nostdlib", "-o", out,
		at("crt1.o"), at("crti.o"), source, "-L" + at(""), "-lc", at("crtn.o"),
	}
	if said, err := exec.Command(clang, append(args, flags...)...).CombinedOutput(); err != nil {
		t.Fatalf("clang for %s: %v\n%s", abi.Name, err, said)
	}
}

// SelfContained are flags for a program that finds its loader and libc without a prefix.
func SelfContained(t testing.TB, abi *arch.ABI) []string {
	t.Helper()
	dir := Libc(t, abi)
	loaders, err := filepath.Glob(filepath.Join(dir, "lib*/ld*.so.[0-9]"))
	if err != nil || len(loaders) == 0 {
		t.Fatalf("no loader in %s: %v", dir, err)
	}
	return []string{"-Wl,--dynamic-linker=" + loaders[0], "-Wl,-rpath," + dir + "/lib"}
}
