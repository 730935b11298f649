package twins

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// dynamic gives the root a dynamic sed, with its loader and C library, and a library to preload
// that says so.
func (p *probe) dynamic(t *testing.T) {
	t.Helper()
	const gcc = "aarch64-linux-gnu-gcc"
	compile(t, gcc, filepath.Join(p.root, "usr/bin/sed"))
	lib := filepath.Join(p.root, "lib")
	require.NoError(t, os.MkdirAll(lib, 0o755))
	for _, name := range []string{"libc.so.6", "ld-linux-aarch64.so.1"} {
		from, err := exec.Command(need.Program(t, gcc, gcc), "-print-file-name="+name).Output()
		require.NoError(t, err)
		text, err := os.ReadFile(strings.TrimSpace(string(from)))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(lib, name), text, 0o755))
	}
	source := filepath.Join(p.dir, "said.c")
	require.NoError(t, os.WriteFile(source, []byte(`#include <unistd.h>
__attribute__((constructor)) static void said(void) { if (write(1, "preloaded\n", 10) < 0) _exit(1); }
`), 0o644))
	for _, name := range []string{"libsaid.so", "libeatmydata.so.1"} {
		out, err := exec.Command(need.Program(t, gcc, gcc), "-shared", "-fPIC", "-o", filepath.Join(lib, name), source).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// What a guest's loader does by a variable, it does with twins, too: there is no twin then.
func TestLoadersVariables(t *testing.T) {
	p := newProbe(t)
	p.dynamic(t)
	address := regexp.MustCompile(`0x[0-9a-f]+`)
	for _, c := range []struct {
		entry string
		twin  bool
		says  string // what the guest's loader prints, or has printed
	}{
		{"LD_BIND_NOW=1", true, ""},
		{"LD_LIBRARY_PATH=/nowhere:/tmp", true, ""},
		{"LD_LIBRARY_PATH=/lib", false, ""},
		{"LD_PRELOAD=/lib/libsaid.so", false, "preloaded\n"},
		{"LD_PRELOAD=/lib/nothing.so", false, ""},
		{"LD_SHOW_AUXV=", false, "AT_PLATFORM"},
		{"LD_TRACE_LOADED_OBJECTS=", false, "libc.so.6 => "},
		{"LD_DEBUG=statistics", false, ""},
	} {
		env := []string{c.entry}
		want, wantStatus, _ := p.run(t, "off", env, "sed", "a")
		got, status, debug := p.run(t, p.set.Dir, env, "sed", "a")
		assert.Contains(t, want, c.says, c.entry)
		assert.Equal(t, wantStatus, status, c.entry)
		assert.Equal(t, c.twin, strings.Contains(debug, ": twin /.binproxy-twins/any/sed\n"), "%s: %s", c.entry, debug)
		if strings.HasPrefix(c.entry, "LD_SHOW_AUXV") {
			assert.Contains(t, got, c.says)
			continue // numbers of the process
		}
		same := func(said string) string { return address.ReplaceAllString(strings.Join(facts(said), ""), "") }
		assert.Equal(t, same(want), same(got), c.entry)
	}
	// this one only spares time
	_, _, debug := p.run(t, p.set.Dir, []string{"LD_PRELOAD=/lib/libeatmydata.so.1"}, "sed", "a")
	assert.Contains(t, debug, ": twin /.binproxy-twins/any/sed\n")
}

// The host's library that binproxy was started with, as by fakeroot, is nothing to a guest in a
// root without it: no loader names it, and it forbids no twin. A guest's own with it still counts.
func TestOuterPreload(t *testing.T) {
	p := newProbe(t)
	p.dynamic(t)
	source := filepath.Join(p.dir, "said.c")
	out, err := exec.Command(need.Program(t, "gcc", "gcc"), "-shared", "-fPIC", "-o", filepath.Join(p.dir, "libouter.so"), source).CombinedOutput()
	require.NoError(t, err, "%s", out)
	search := "LD_LIBRARY_PATH=" + p.dir
	want, _, _ := p.run(t, "off", []string{search}, "sed", "a")
	for _, twins := range []string{"off", p.set.Dir} {
		got, _, debug := p.run(t, twins, []string{search, "LD_PRELOAD=libouter.so"}, "sed", "a")
		hidden := func(line string) bool { return strings.HasPrefix(line, "env: LD_PRELOA") }
		assert.Equal(t, facts(want), slices.DeleteFunc(facts(got), hidden))
		assert.NotContains(t, debug, "ld.so:")
		assert.Equal(t, twins != "off", strings.Contains(debug, ": twin /.binproxy-twins/any/sed\n"), debug)
	}
	got, _, debug := p.run(t, p.set.Dir, []string{search, "LD_PRELOAD=/lib/libsaid.so"}, "sed", "a")
	assert.Contains(t, got, "preloaded\n")
	assert.NotContains(t, debug, ": twin ")
}
