package spoof

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// A file that is told by tracing looks like the kernel's to a program that has opened it, and so
// is copied by the programs that compare the two.
func TestSameFile(t *testing.T) {
	dir, binproxy := public(t)
	files := []string{"/proc/version", "/proc/sys/kernel/osrelease", "/sys/kernel/notes", "/proc/cpuinfo", "/etc/hostname", "/dev/null"}
	for _, p := range []program{{path: "amd64"}, {path: "386"}, {path: "arm64", qemu: "aarch64"}} {
		reader := filepath.Join(dir, p.path)
		built.Guest(t, p.path, "./testdata/same", reader)
		run := []string{binproxy, "run"}
		if p.qemu != "" {
			run = append(run, "--emulator", p.qemu+"="+need.Emulator(t, p.qemu))
		}
		truth := output(t, nil, concat(run, []string{"--", reader}, files)...)
		require.Contains(t, truth, "/proc/version true 0 -r--r--r-- true <nil>\n")
		require.Equal(t, truth, output(t, nil, concat(run, flags("trace")[1:], []string{"--", reader}, files)...), p.path)
	}
	trace := concat([]string{binproxy}, flags("trace"), []string{"--"})
	want := output(t, nil, concat(trace, []string{"cat", "/proc/version"})...)
	require.Contains(t, want, other.Release)
	for name, script := range map[string]string{
		"cp":              "cp /proc/version copy",
		"cp -a":           "cp -a /proc/version copy",
		"again and again": "cp /proc/version copy && cp -f /proc/version copy && cp /proc/sys/kernel/osrelease other",
		"install":         "install -m 600 /proc/version copy",
		"one process":     "exec 3</proc/version 4</proc/version 5</proc/version; cat <&5 >copy; test /proc/self/fd/3 -ef /proc/self/fd/4",
	} {
		t.Run(name, func(t *testing.T) {
			at := t.TempDir()
			output(t, nil, concat(trace, []string{"sh", "-ec", `cd "$0"; ` + script, at})...)
			text, err := os.ReadFile(at + "/copy")
			require.NoError(t, err)
			require.Equal(t, want, string(text))
		})
	}
}
