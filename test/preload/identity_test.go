package preload

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/shim/preload"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// TestIdentity compares the preload route's column of the table in docs/uname.md with what
// programs see.
func TestIdentity(t *testing.T) {
	root, err := built.Root()
	require.NoError(t, err)
	dir := t.TempDir()
	binproxy, dynamic, static := filepath.Join(dir, "binproxy"), filepath.Join(dir, "dynamic"), filepath.Join(dir, "static")
	program, err := os.ReadFile(built.Binproxy(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binproxy, program, 0o755))
	files := preload.Tree(preload.Libraries(), arch.Host(), nil)
	require.NoError(t, preload.Write(dir, files))
	gcc, sources := need.Program(t, "gcc", "gcc"), filepath.Join(root, "test/spoof/testdata/sources.c")
	for path, flag := range map[string]string{dynamic: "-pie", static: "-static"} {
		out, err := exec.Command(gcc, "-O1", flag, "-o", path, sources).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	python := need.Program(t, "python3", "python3-minimal")
	for _, c := range []struct {
		source, script string
		says           string // in the table
	}{
		{"the command `uname`", "uname -s; uname -n; uname -r; uname -v; uname -m", "told"},
		{"uname(2) of a native program", dynamic + " | grep 'C\t' | grep -v ^code", "told in dynamic programs"},
		{"uname(2) of a native program", static, "the truth in static ones"},
		{"gethostname(2)", python + " -c 'import socket; print(socket.gethostname())'", "told"},
		{"/proc/version, /proc/sys/kernel/osrelease", "cd /proc/sys/kernel; for f in osrelease version ostype hostname; do cat $PWD/$f; done; cat /proc/version", "told to libc's open"},
		{"/proc/version, /proc/sys/kernel/osrelease", dynamic + " | grep ^banner", "and fopen"},
		{"/proc/version, /proc/sys/kernel/osrelease", "cat /proc/sys/kernel/arch 2>/dev/null; echo", "not arch, which is the truth"},
		{"/proc/version_signature", "cat /proc/version_signature 2>/dev/null || echo no", "not there"},
		{"/proc/config.gz", "cksum /proc/config.gz 2>/dev/null; echo", "the truth"},
		{"/sys/kernel/notes", "cksum /sys/kernel/notes", "the truth"},
		{"the vDSO's", dynamic + " | grep ^code; echo", "the truth"},
		{"the kernel's log, /proc/cmdline", "cat /proc/cmdline", "the truth"},
		{"opens for reading and writing", python + " -c 'import os; print(os.read(os.open(\"/proc/version\", os.O_RDONLY | os.O_CREAT), 999))'", "the truth"},
	} {
		cell := cellOf(t, root, c.source)
		require.Contains(t, cell, c.says, c.source)
		truth := output(t, "sh", "-c", c.script)
		got := output(t, binproxy, "run", "--route", "preload", "--sysname", "Minux", "--nodename", "node.example", "--release", "4.15.0-112-generic",
			"--kernel-version", "#113 SMP", "--machine", "armv7l", "--", "sh", "-c", c.script)
		switch {
		case strings.HasPrefix(c.says, "not there"):
			assert.Equal(t, "no\n", got, c.source)
		case strings.Contains(c.says, "the truth"):
			assert.Equal(t, truth, got, c.source)
		default:
			for line := range strings.Lines(truth) {
				assert.NotContains(t, got, line, c.source)
			}
			assert.Equal(t, strings.Count(truth, "\n"), strings.Count(got, "\n"), got)
		}
	}
}

// doctor reports what the route cannot reach.
func TestDoctor(t *testing.T) {
	context := t.TempDir()
	makeContext(t, context, arch.Get("aarch64"))
	out, _ := exec.Command(filepath.Join(context, "bundle/binproxy"), "doctor", "--arch", "arm64").Output()
	assert.Regexp(t, `route preload +yes: \S+/bundle has the libraries; static and set-user-id programs take none`, string(out))
}

// cellOf is the last column of the row whose first column begins with source.
func cellOf(t *testing.T, root, source string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/uname.md"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| "+source) && len(cells) == 7 {
			return cells[5]
		}
	}
	t.Fatalf("docs/uname.md has no row %q", source)
	return ""
}

// output is a command's output; it must print nothing on stderr.
func output(t *testing.T, command ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%q: %s", command, stderr.String())
	require.Empty(t, stderr.String(), "%q", command)
	return string(out)
}
