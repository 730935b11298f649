// Package musl gives tests a compiler for programs that musl's loader loads, as Alpine's are:
// Debian's compiler for the architecture, with Debian's musl and musl-gcc's specs.
package musl

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"binproxy/emu/arch"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// Toolchain is what it takes to make and run an architecture's programs.
type Toolchain struct {
	Compiler string // a script with gcc's arguments
	Loader   string // the file, which is the C library too
	Place    string // where the programs look for it
}

// For makes a toolchain. It skips the test if the compiler or the packages cannot be had.
func For(t testing.TB, abi *arch.ABI) Toolchain {
	t.Helper()
	compiler := need.Program(t, abi.GNU+"-gcc", "gcc-"+abi.GNU)
	triplet := abi.Machine + "-linux-musl"
	dir := files(abi, triplet).For(t)
	text, err := os.ReadFile(filepath.Join(dir, "usr/lib", triplet, "musl-gcc.specs"))
	if err != nil {
		t.Fatal(err)
	}
	place := "/lib/ld-musl-" + abi.Machine + ".so.1"
	made := Toolchain{Compiler: filepath.Join(t.TempDir(), "gcc"), Loader: filepath.Join(dir, place), Place: place}
	specs := made.Compiler + ".specs"
	for name, text := range map[string]string{
		specs:         strings.ReplaceAll(string(text), "/usr/", dir+"/usr/"),
		made.Compiler: fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" -specs=%s\n", compiler, specs),
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// files are the files of Debian's musl for an architecture.
func files(abi *arch.ABI, triplet string) *fixture.Fixture {
	packages := debs.Of(lab.Suite, abi.Debian, "musl", "musl-dev")
	// If the linker finds no library it takes the archive beside it, which gives a static program
	// with a loader.
	library, link := "../../../lib/"+triplet+"/libc.so", "usr/lib/"+triplet+"/libc.so"
	return &fixture.Fixture{
		Name: "debs/musl-" + lab.Suite + "-" + abi.Debian, What: packages.String(), From: packages.From(library, link),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			if err := packages.Unpack(ctx, work, made, held); err != nil {
				return err
			}
			return os.Symlink(library, filepath.Join(made, link))
		},
	}
}
