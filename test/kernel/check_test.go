package kernel

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/need"
)

type checked struct {
	Verdict, Libc string
	Files         int
	Findings      []struct{ File, Need, Call, Since, Sure, Kind, Do, Source string }
}

func check(t testing.TB, args ...string) (checked, int) {
	t.Helper()
	out, status := run(t, "", append([]string{built.Binproxy(t), "kernel", "check", "--json"}, args...)...)
	var c checked
	require.NoError(t, json.Unmarshal([]byte(out), &c), out)
	return c, status
}

// one finds the finding on a file with this basis.
func (c checked) one(t testing.TB, file, sure string) (kind, need string) {
	t.Helper()
	for _, f := range c.Findings {
		if strings.HasSuffix(f.File, file) && f.Sure == sure {
			require.NotEmpty(t, f.Source)
			require.NotEmpty(t, f.Do)
			return f.Kind, f.Need
		}
	}
	return "", ""
}

const multiarch = "usr/lib/x86_64-linux-gnu"

// Bookworm's Qt under an older glibc, which reads the note, and under its own, which does not.
func TestCheckQt(t *testing.T) {
	qt := filepath.Join(debs.Unpacked(t, "bookworm", "libqt5core5a"), multiarch, "libQt5Core.so.5")
	bullseye := filepath.Join(debs.Unpacked(t, "bullseye", "libc6"), "lib/x86_64-linux-gnu/libc.so.6")
	c, status := check(t, "--kernel", "3.10", qt, bullseye)
	require.Equal(t, 1, status)
	require.Equal(t, "glibc 2.31", c.Libc)
	kind, text := c.one(t, "libQt5Core.so.5", "note")
	require.Equal(t, "hard", kind)
	require.Equal(t, "Linux 3.17.0 by its .note.ABI-tag", text)

	// el7 carries getrandom back, but the loader compares only versions.
	c, status = check(t, "--kernel", "3.10.0-1160.71.1.el7.x86_64", "--libc", "glibc-2.31", qt)
	require.Equal(t, 1, status)
	kind, _ = c.one(t, "libQt5Core.so.5", "note")
	require.Equal(t, "hard", kind)

	bookworm := filepath.Join(debs.Unpacked(t, "bookworm", "libc6"), "lib/x86_64-linux-gnu/libc.so.6")
	c, _ = check(t, "--kernel", "3.10", qt, bookworm)
	require.Equal(t, "glibc 2.36", c.Libc)
	kind, _ = c.one(t, "libQt5Core.so.5", "note")
	require.Equal(t, "soft", kind)

	c, status = check(t, "--kernel", "3.10", qt)
	require.Equal(t, 2, status)
	kind, _ = c.one(t, "libQt5Core.so.5", "note")
	require.Equal(t, "unknown", kind)

	c, _ = check(t, "--kernel", "3.17", qt, bullseye)
	_, text = c.one(t, "libQt5Core.so.5", "note")
	require.Empty(t, text)
}

func TestCheckGoBinary(t *testing.T) {
	c, status := check(t, "--kernel", "3.0", built.Binproxy(t))
	require.Equal(t, 1, status)
	kind, text := c.one(t, "binproxy", "note")
	require.Equal(t, "hard", kind)
	require.Contains(t, text, "Linux 3.2, as a program of go1.")
	c, status = check(t, "--kernel", "3.10", built.Binproxy(t))
	require.Zero(t, status, "%+v", c.Findings)
	require.Equal(t, 1, c.Files)
}

func TestCheckBusybox(t *testing.T) {
	busybox := filepath.Join(debs.Unpacked(t, "bookworm", "busybox-static"), "bin/busybox")
	c, _ := check(t, "--kernel", "3.10", busybox)
	require.Equal(t, 1, c.Files)
	calls := map[string]string{}
	for _, f := range c.Findings {
		require.Equal(t, "code", f.Sure)
		calls[f.Call] = f.Kind
	}
	require.Equal(t, "soft", calls["rseq"])
	_, status := check(t, "--kernel", "6.1", busybox)
	require.Zero(t, status)
}

func TestCheckPython(t *testing.T) {
	python := filepath.Join(debs.Unpacked(t, "bookworm", "python3.11-minimal"), "usr/bin/python3.11")
	libc := filepath.Join(debs.Unpacked(t, "bookworm", "libc6"), "lib/x86_64-linux-gnu/libc.so.6")
	c, status := check(t, "--kernel", "3.10", python, libc)
	require.Equal(t, 2, status)
	found := map[string]string{}
	for _, f := range c.Findings {
		found[f.Call] = f.Since + " " + f.Sure + " " + f.Kind
	}
	require.Equal(t, "3.17 import unknown", found["getrandom"])
	require.Equal(t, "4.5 import unknown", found["copy_file_range"])
	_, status = check(t, "--kernel", "debian-12", python, libc)
	require.Zero(t, status)
}

// musl prints its version in no sentence. The check still finds it, by the file alone, in a root
// directory and under the name of the loader.
func TestCheckMusl(t *testing.T) {
	dir := debs.Unpacked(t, "bookworm", "musl")
	c, status := check(t, "--kernel", "3.10", dir)
	require.Equal(t, "musl 1.2.3", c.Libc)
	require.Contains(t, []int{0, 2}, status)
	c, _ = check(t, "--kernel", "3.10", filepath.Join(dir, "lib/ld-musl-x86_64.so.1"))
	require.Equal(t, "musl 1.2.3", c.Libc)
}

// A root directory, against the running kernel: the probe's findings count.
func TestCheckHost(t *testing.T) {
	dir := debs.Unpacked(t, "bookworm", "libc6")
	c, status := check(t, "--kernel", "host", dir)
	require.Contains(t, []int{0, 2}, status, "%+v", c.Findings)
	require.Equal(t, "glibc 2.36", c.Libc)
	require.Greater(t, c.Files, 10)
	for _, f := range c.Findings {
		require.NotContains(t, []string{"hard"}, f.Kind, "%+v", f)
	}
}

func TestCheckSARIF(t *testing.T) {
	qt := filepath.Join(debs.Unpacked(t, "bookworm", "libqt5core5a"), multiarch, "libQt5Core.so.5")
	out, status := run(t, "", built.Binproxy(t), "kernel", "check", "--sarif", "--libc", "glibc-2.31", "--kernel", "3.10", qt)
	require.Equal(t, 1, status)
	var log struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID, Level string
				Locations     []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &log))
	require.Equal(t, "2.1.0", log.Version)
	first := log.Runs[0].Results[0]
	require.Equal(t, "kernel-note", first.RuleID)
	require.Equal(t, "error", first.Level)
	require.True(t, strings.HasSuffix(first.Locations[0].PhysicalLocation.ArtifactLocation.URI, "libQt5Core.so.5"))
}

type recorded struct {
	Status int
	Needs  []struct {
		Name, Kind, Since string
		Count             int
	}
	Oldest     string
	OldestHard string `json:"oldest_hard"`
}

func record(t testing.TB, argv ...string) recorded {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report")
	_, status := run(t, "", append([]string{built.Binproxy(t), "kernel", "record", "--json", "--output", report, "--"}, argv...)...)
	out, err := os.ReadFile(report)
	require.NoError(t, err)
	var r recorded
	require.NoError(t, json.Unmarshal(out, &r))
	require.Equal(t, r.Status, status)
	return r
}

// Denying a call shows whether a program needs it.
func TestRecordKinds(t *testing.T) {
	need.Given(t, here(t, "5.3"), "PTRACE_GET_SYSCALL_INFO (Linux 5.3 or later)")
	program := compiled(t, "needs")
	for _, kind := range []string{"hard", "soft", "poisoned"} {
		r := record(t, program, kind)
		require.Zero(t, r.Status)
		found := ""
		for _, n := range r.Needs {
			if n.Name == "getrandom" {
				found = n.Kind
				require.Equal(t, "3.17", n.Since)
			}
		}
		require.Equal(t, kind, found)
		oldest, err := releaseOf(r.OldestHard)
		require.NoError(t, err)
		want, err := releaseOf("3.17")
		require.NoError(t, err)
		require.Equal(t, kind == "hard", oldest >= want, "%s: %s", kind, r.OldestHard)
	}
}

// A recording is complete, with the children's calls: the command runs under the oldest kernel
// that has all of it.
func TestRecordThenRun(t *testing.T) {
	need.Given(t, here(t, "5.3"), "PTRACE_GET_SYSCALL_INFO (Linux 5.3 or later)")
	program := compiled(t, "needs")
	argv := []string{"sh", "-c", program + " hard && exit 7"}
	r := record(t, argv...)
	require.Equal(t, 7, r.Status)
	_, status := runAs(t, r.Oldest, "", argv...)
	require.Equal(t, 7, status)
	_, status = runAs(t, "3.16", "", argv...)
	require.Equal(t, 1, status)
}
