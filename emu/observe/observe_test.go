package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// script plays a small build: a shell forks make, which runs a compiler twice, and a subshell; one
// process is left behind.
func script(l *Log, tick func(time.Duration)) {
	const ms = time.Millisecond
	l.Forked(10, 0)
	tick(5 * ms)
	l.Execed(10, Program{File: "/bin/sh", Argv: []string{"sh", "-c", "make \"x\""}}, 3*ms)
	l.Forked(11, 10)
	tick(1 * ms)
	l.Execed(11, Program{File: "/usr/bin/make", Argv: []string{"make"}, Arch: "aarch64"}, 2*ms)
	for pid := 12; pid < 14; pid++ {
		l.Forked(pid, 11)
		tick(1 * ms)
		l.Execed(pid, Program{File: "cc", Argv: []string{"cc", "-c", "a\xff.c"}, Arch: "aarch64"}, 1*ms)
		tick(100 * ms)
		l.Exited(pid, unix.WaitStatus(1<<8), 91*ms)
	}
	l.Forked(14, 10)
	tick(20 * ms)
	l.Exited(14, unix.WaitStatus(9), 15*ms)
	l.Execed(11, Program{File: "", Argv: []string{"/bin/true"}, Arch: "aarch64"}, 42*ms)
	tick(4 * ms)
	l.Exited(11, 0, Unknown)
	l.Forked(15, 10)
	l.Execed(15, Program{File: "/usr/sbin/daemon"}, 0)
	tick(1 * ms)
	l.Exited(10, 0, 13*ms)
	l.Exited(99, 0, 1*ms) // an unknown process
}

func played(t *testing.T, w io.Writer, summarise bool) *Log {
	t.Helper()
	l := New(w, summarise)
	var now time.Duration
	l.clock = func() time.Duration { return now }
	script(l, func(d time.Duration) { now += d })
	return l
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}

func TestTrace(t *testing.T) {
	var out bytes.Buffer
	l := played(t, &out, false)
	cut := out.String()
	require.NoError(t, l.Close())
	golden(t, "trace.json", out.Bytes())

	var events []event
	require.NoError(t, json.Unmarshal(out.Bytes(), &events))
	balance := map[int]int{}
	for _, e := range events {
		switch e.Phase {
		case "B":
			balance[e.PID]++
		case "E":
			balance[e.PID]--
		}
		assert.Equal(t, e.PID, e.TID)
	}
	for pid, n := range balance {
		assert.Zero(t, n, "process %d", pid)
	}
	require.NoError(t, json.Unmarshal([]byte(cut+"]"), &events), "a trace that was cut short lacks only its end")
}

func TestSummary(t *testing.T) {
	var out bytes.Buffer
	l := played(t, nil, true)
	require.NoError(t, l.Close())
	require.NoError(t, l.Summary(&out))
	golden(t, "summary.txt", out.Bytes())
}

// Ended processes are forgotten, and there are no more rows than the summary distinguishes.
func TestForgets(t *testing.T) {
	l := New(io.Discard, true)
	for i := range 3 * distinct {
		l.Forked(i, 0)
		l.Execed(i, Program{File: fmt.Sprint("/bin/", i)}, 0)
		l.Exited(i, 0, time.Second)
	}
	assert.Empty(t, l.living)
	assert.LessOrEqual(t, len(l.summary.costs), distinct+1)
	assert.Equal(t, 2*distinct, l.summary.costs[others].execs)
}

type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

var errFull = errors.New("full")

// A full disk ends the trace but not the run, and is reported once.
func TestWriteError(t *testing.T) {
	l := played(t, &full{300}, false)
	require.ErrorIs(t, l.Close(), errFull)
}

// The summary adds up programs that ran as twins and those that could have, by reason. It
// estimates what was or would be saved by the rule's factor.
func TestTwins(t *testing.T) {
	l := New(nil, true)
	var now time.Duration
	l.clock = func() time.Duration { return now }
	run := func(pid int, p Program, cpu time.Duration) {
		l.Forked(pid, 0)
		l.Execed(pid, p, 0)
		now += cpu
		l.Exited(pid, 0, cpu)
	}
	run(1, Program{File: "/usr/bin/sed", Arch: "aarch64", Twin: "sed", Speed: 10}, 100*time.Millisecond)
	run(2, Program{File: "/usr/bin/xz", Arch: "aarch64", Why: "no twin of it is packed", Speed: 5}, 500*time.Millisecond)
	run(3, Program{File: "/usr/bin/xz", Arch: "aarch64", Why: "no twin of it is packed", Speed: 5}, 500*time.Millisecond)
	run(4, Program{File: "/usr/bin/as", Arch: "aarch64", Why: "called with -v"}, time.Second)
	run(5, Program{File: "/usr/bin/perl", Arch: "aarch64"}, time.Second)
	var b bytes.Buffer
	require.NoError(t, l.Summary(&b))
	for _, line := range []string{
		"4 emulated with 97 % of the CPU time, 1 as twins with 3 %, 0 native with 0 %",
		"twins: 1 programs ran as twins, in 0.100 s of CPU time; emulated it would have been about 1.000 s\n",
		"twins: 3 programs could have run as twins, which would save about 0.800 s of CPU time:\n",
		"   1.000 s    0.800 s        2  xz: no twin of it is packed\n",
		"   1.000 s    0.000 s        1  as: called with -v\n",
	} {
		assert.Contains(t, b.String(), line)
	}
	assert.NotContains(t, b.String(), "perl: ")
}
