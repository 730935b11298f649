package need

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listener is a test that records how it ended.
type listener struct {
	testing.TB
	end string
}

func (l *listener) Helper()                        {}
func (l *listener) Skipf(format string, a ...any)  { l.end = "skip: " + fmt.Sprintf(format, a...) }
func (l *listener) Fatalf(format string, a ...any) { l.end = "fail: " + fmt.Sprintf(format, a...) }

// A skip says why the package could not be had; under CI=true the test fails instead.
func TestLackingPackage(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	end := func() string {
		l := &listener{TB: t}
		Program(l, "no-such-program", "its-package")
		return l.end
	}
	t.Setenv("CI", "")
	assert.Equal(t, "skip: needs no-such-program (package its-package)", end())
	require.NoError(t, NoteLacking(map[string]string{"its": "another's", "its-package": "apt-get install:\n404"}))
	assert.Equal(t, "skip: needs no-such-program (package its-package: apt-get install: 404)", end())
	t.Setenv("CI", "true")
	assert.Equal(t, "fail: needs no-such-program (package its-package: apt-get install: 404), which `make test` should have brought", end())
	require.NoError(t, NoteLacking(nil))
	require.NoError(t, NoteLacking(nil), "nothing to remove")
	t.Setenv("CI", "")
	assert.Equal(t, "skip: needs no-such-program (package its-package)", end())
}

// A compiler whose C library is missing counts as missing, with the reason for that package.
func TestCompilerWithoutLibrary(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("CI", "")
	require.NoError(t, NoteLacking(map[string]string{"libc6-dev-arm64-cross": "404"}))
	for _, tt := range []struct{ name, prints, want string }{
		{"gcc", "/usr/lib/crt1.o", ""},
		{"gcc", "crt1.o", "skip: needs a C library for gcc (package libc6-dev)"},
		{"aarch64-linux-gnu-gcc", "crt1.o", "skip: needs a C library for aarch64-linux-gnu-gcc (package libc6-dev-arm64-cross: 404)"},
		{"arm-linux-gnueabihf-g++", "crt1.o", "skip: needs a C library for arm-linux-gnueabihf-g++ (package libc6-dev-armhf-cross)"},
		{"musl-gcc", "crt1.o", ""},
		{"sh", "crt1.o", ""},
	} {
		compiler := "#!/bin/sh\n[ \"$*\" = -print-file-name=crt1.o ] && echo " + tt.prints + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, tt.name), []byte(compiler), 0o755))
		l := &listener{TB: t}
		assert.Equal(t, filepath.Join(dir, tt.name), Program(l, tt.name, "its-package"))
		assert.Equal(t, tt.want, l.end, tt.name)
		require.NoError(t, os.Remove(filepath.Join(dir, tt.name)))
	}
}
