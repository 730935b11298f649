// Package observe checks the reports of `binproxy run` on real programs.
package observe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// row is one event of a trace.
type row struct {
	Name, Ph string
	TS, Dur  int64
	PID, TID int
	Args     struct {
		Argv        []string
		Arch, Ended string
		Parent      int
		CPU         *int64 `json:"cpu_us"`
		Status      int
		Signal      int
		Forked      bool
		Name        string
		File        string
	}
}

func parse(t *testing.T, text []byte) []row {
	t.Helper()
	var rows []row
	require.NoError(t, json.Unmarshal(text, &rows))
	return rows
}

// observed runs the shell script (of the host) under supervision with a trace and a summary.
func observed(t *testing.T, script string, args ...string) (rows []row, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace.json")
	cmd := exec.Command(built.Binproxy(t), append([]string{"run", "--trace", file, "--summary", "--", "/bin/sh", "-c", script, "sh"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return parse(t, text), out.String(), errs.String()
}

// smallest is the smallest guest program.
func smallest(t *testing.T) string {
	t.Helper()
	need.Emulator(t, "aarch64")
	path := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, os.WriteFile(path, tiny.Program(arch.Get("aarch64")), 0o755))
	return path
}

// shape is the part of a trace that is the same in every run: process ids in the order of their
// appearance, no times.
func shape(rows []row) string {
	var b strings.Builder
	number := map[int]int{0: 0}
	id := func(pid int) int {
		if _, ok := number[pid]; !ok {
			number[pid] = len(number)
		}
		return number[pid]
	}
	for _, r := range rows {
		switch r.Ph {
		case "B":
			fmt.Fprintf(&b, "%d begins %s (%s) %q, parent %d\n", id(r.PID), r.Name, r.Args.Arch, r.Args.Argv[1:], id(r.Args.Parent))
		case "E":
			fmt.Fprintf(&b, "%d ends %s: %s %d\n", id(r.PID), r.Name, r.Args.Ended, r.Args.Status+r.Args.Signal)
		case "X":
			fmt.Fprintf(&b, "%d was a fork of %s (%s), parent %d: %s %d\n", id(r.PID), r.Name, r.Args.Arch, id(r.Args.Parent), r.Args.Ended, r.Args.Status+r.Args.Signal)
		}
	}
	return b.String()
}

func TestTraceOfRealPrograms(t *testing.T) {
	guest := smallest(t)
	rows, _, stderr := observed(t, `"$1" one "two words"; (exit 3); (kill -9 $(exec sh -c 'echo $PPID')); exec "$1"`, guest)
	assert.Equal(t, `1 begins sh (native) ["-c" "\"$1\" one \"two words\"; (exit 3); (kill -9 $(exec sh -c 'echo $PPID')); exec \"$1\"" "sh" "TINY"], parent 0
2 begins tiny (aarch64) ["one" "two words"], parent 1
2 ends tiny: exit 42
3 was a fork of sh (native), parent 1: exit 3
4 begins sh (native) ["-c" "echo $PPID"], parent 5
4 ends sh: exit 0
5 was a fork of sh (native), parent 1: signal 9
1 ends sh: exec 0
1 begins tiny (aarch64) [], parent 0
1 ends tiny: exit 42
`, strings.ReplaceAll(shape(rows), guest, "TINY"))
	for _, r := range rows {
		if r.Ph == "E" || r.Ph == "X" {
			require.NotNil(t, r.Args.CPU, "%v", r)
			assert.Positive(t, *r.Args.CPU, "%v", r)
		}
	}
	assert.Regexp(t, `binproxy: 4 programs in .*: 2 emulated with \d+ % of the CPU time, 2 native with \d+ %; forks without exec: 2\n`, stderr)
	assert.Regexp(t, regexp.MustCompile(`(?m)^ +\S+ s +\S+ s +2  tiny \(aarch64\)$`), stderr)
}

// The trace has the program and the parent of each process as the process itself reports them;
// threads are not rows.
func TestParents(t *testing.T) {
	need.Emulator(t, "aarch64")
	guest := filepath.Join(t.TempDir(), "family")
	built.Guest(t, "arm64", "testdata/family.go", guest)
	rows, stdout, stderr := observed(t, `"$1" & "$1"; wait`, guest)
	parents := map[int]int{}
	var shell int
	for _, r := range rows {
		if r.Ph == "B" {
			parents[r.PID] = r.Args.Parent
			assert.Equal(t, r.PID, r.TID)
			if r.Name == "sh" {
				shell = r.PID
			}
		}
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 2*7, "%s%s", stdout, stderr)
	for _, line := range lines {
		pid, parent, _ := strings.Cut(line, " ")
		child, err := strconv.Atoi(pid)
		require.NoError(t, err)
		assert.Equal(t, parent, strconv.Itoa(parents[child]), "parent of %d", child)
	}
	assert.Len(t, parents, 1+2*7)
	assert.Contains(t, parents, shell)
}

// A loop's CPU time belongs to the program that looped, not to the one that waited for it.
func TestCPUTimeIsTheProgramsOwn(t *testing.T) {
	rows, _, _ := observed(t, `sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 0'; exit 0`)
	var inner, outer int64
	for _, r := range rows {
		switch {
		case r.Ph != "E":
		case r.PID == rows[0].PID:
			outer = *r.Args.CPU
		default:
			inner = *r.Args.CPU
		}
	}
	assert.Greater(t, inner, 5*outer)
}

// The trace of a supervisor that was killed lacks only the array's end.
func TestTraceAfterKill(t *testing.T) {
	guest := smallest(t)
	file := filepath.Join(t.TempDir(), "trace.json")
	cmd := exec.Command(built.Binproxy(t), "run", "--trace", file, "--", "/bin/sh", "-c", `while :; do "$1"; done`, "sh", guest)
	require.NoError(t, cmd.Start())
	for {
		if fi, err := os.Stat(file); err == nil && fi.Size() > 10_000 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	_ = cmd.Wait()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Greater(t, len(parse(t, append(text, ']'))), 10)
}

// A trace that cannot be written is reported before anything runs.
func TestTraceFileThatCannotBe(t *testing.T) {
	out, err := exec.Command(built.Binproxy(t), "run", "--trace", filepath.Join(t.TempDir(), "no/such"), "--", "/bin/echo", "ran").CombinedOutput()
	var status *exec.ExitError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, 125, status.ExitCode())
	assert.Contains(t, string(out), "--trace: open")
	assert.NotContains(t, string(out), "ran")
}

// The supervisor's memory does not grow with the number of programs. BINPROXY_EXECS=100000 shows
// it for more.
func TestMemoryIsFlat(t *testing.T) {
	count := 2000
	if n, err := strconv.Atoi(os.Getenv("BINPROXY_EXECS")); err == nil {
		count = n
	}
	guest := smallest(t)
	const script = `rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$PPID/status; }
i=0
while [ $i -lt "$2" ]; do
	if [ $i -eq 400 ]; then rss; fi
	"$1" "$i"
	i=$((i+1))
done
rss`
	rows, stdout, _ := observed(t, script, guest, strconv.Itoa(count))
	var early, late int
	_, err := fmt.Sscan(stdout, &early, &late)
	require.NoError(t, err)
	t.Logf("resident memory of the supervisor: %d KiB after 400 programs, %d KiB after %d", early, late, count)
	assert.Less(t, late-early, 2048)
	begun := 0
	for _, r := range rows {
		if r.Ph == "B" && r.Name == "tiny" {
			begun++
		}
	}
	assert.Equal(t, count, begun)
}
