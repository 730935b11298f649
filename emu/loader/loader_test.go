package loader

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for _, test := range []struct{ name, list, found, err string }{
		{"glibc", "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibz.so.1 => /lib/libz.so.1 (0x00007f)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n", "/lib/libc.so.6 /lib/libz.so.1", ""},
		{"glibc before 2.30", "\tlinux-vdso.so.1 =>  (0x00007ffc)\n", "", ""},
		{"musl", "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n", "/lib/ld-musl-x86_64.so.1", ""},
		{"not there", "\tlibno.so.1 => not found\n", "", "its library libno.so.1 is not found on this machine"},
		{"a name with spaces", "\tlib.so => /opt/a b/lib.so (0x7f)\n", "/opt/a b/lib.so", ""},
		{"nothing", "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, err := parse(test.list)
			assert.Equal(t, test.found, strings.Join(found, " "))
			if test.err == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, test.err)
			}
		})
	}
}

// A real program's list is the loader, then files that are there.
func TestListOfTheShell(t *testing.T) {
	shell, err := exec.LookPath("sh")
	require.NoError(t, err)
	loader, err := Of(shell)
	require.NoError(t, err)
	list, err := Libraries(shell)
	require.NoError(t, err)
	if loader == "" {
		assert.Empty(t, list)
		return
	}
	require.NotEmpty(t, list)
	assert.Equal(t, loader, list[0])
	for _, file := range list {
		assert.FileExists(t, file)
	}
}

func TestNoProgram(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755))
	list, err := Libraries(text)
	assert.NoError(t, err)
	assert.Empty(t, list)
	_, err = Libraries(text + "none")
	assert.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(text, []byte("\x7fELF\x02\x01\x01"+strings.Repeat("\x00", 9)), 0o755))
	_, err = Libraries(text)
	assert.ErrorContains(t, err, text)
}
