package execs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// The programs of these tests try to gain what a tracee must not gain. If they are root, they
// become nobody first.
const (
	nobody = 65534
	good   = 42 // the status of the guest that they may execute
	secret = 77 // the status of the guest that they may not execute
	asRoot = 78 // the status of either, executed as root
	killed = 128 + int(syscall.SIGKILL)
)

// hostile is a directory with the programs.
type hostile struct {
	dir, binproxy, program string
	good, secret           string
	user                   bool   // the supervisor is an ordinary user's
	place                  string // where it is (confine)
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	need.Emulator(t, "aarch64")
	dir, err := os.MkdirTemp("", "hostile")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	in := func(name string) string { return filepath.Join(dir, name) }
	h := &hostile{dir: dir, binproxy: in("binproxy"), program: in("hostile"), good: in("good"), secret: in("secret")}
	text, err := os.ReadFile(built.Binproxy(t)) // where nobody can reach it
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(h.binproxy, text, 0o755))
	native, cross := need.Program(t, "gcc", "gcc"), need.Program(t, "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
	for _, c := range [][]string{
		{native, "-pthread", "-o", h.program, "testdata/hostile.c"},
		{cross, fmt.Sprintf("-DSTATUS=%d", good), "-o", h.good, "testdata/exits.c"},
		{cross, fmt.Sprintf("-DSTATUS=%d", secret), "-o", h.secret, "testdata/exits.c"},
	} {
		text, err := exec.Command(c[0], append(c[1:], "-static", "-O1", "-w")...).CombinedOutput()
		require.NoError(t, err, "%s", text)
	}
	return h
}

// supervisors runs a test with root's supervisor, and with an ordinary user's.
func (h *hostile) supervisors(t *testing.T, test func(t *testing.T, h *hostile)) {
	t.Helper()
	t.Run("root", func(t *testing.T) {
		need.Root(t)
		test(t, h)
	})
	t.Run("user", func(t *testing.T) {
		user := *h
		user.user = true
		test(t, &user)
	})
}

// run has the program do something under supervision. It returns how many children ended with
// which status, and the supervisor's output.
func (h *hostile) run(t *testing.T, args ...string) (ends map[int]int, said string) {
	t.Helper()
	return h.as(t, nil, nil, append([]string{h.binproxy, "run", "--route", "supervise", "--", h.program}, args...)...)
}

func (h *hostile) as(t *testing.T, attr *syscall.SysProcAttr, env []string, argv ...string) (ends map[int]int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if h.place != "" {
		self, err := os.Executable()
		require.NoError(t, err)
		argv, env = append([]string{self}, argv...), append(env, placeEnv+"="+h.place)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = h.dir, append(env, "PATH=/usr/bin:/bin"), attr
	if h.user && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = patience
	err := cmd.Run()
	require.NoError(t, err, "%s%s", &out, &errs)
	ends = map[int]int{}
	words := strings.Fields(out.String()) // NAME: TIMES of STATUS ...
	for i := 1; i+2 < len(words); i += 3 {
		times, err := strconv.Atoi(words[i])
		require.NoError(t, err, "%s", &out)
		status, err := strconv.Atoi(words[i+2])
		require.NoError(t, err, "%s", &out)
		ends[status] = times
	}
	t.Logf("%v", ends)
	return ends, errs.String()
}

// swaps checks that the swapped programs were ended, and did nothing else.
func swaps(t *testing.T, ends map[int]int, said string) {
	t.Helper()
	assert.Positive(t, ends[killed], "the swap has succeeded")
	delete(ends, killed)
	delete(ends, good)
	assert.Empty(t, ends)
	assert.Contains(t, said, "is ended: it has ")
}

// A task that shares its table of descriptors puts a native set-user-id program in place of the
// emulator: the supervisor does not take it for the emulator.
func TestSwappedEmulator(t *testing.T) {
	h := newHostile(t)
	other := filepath.Join(h.dir, "other")
	text, err := os.ReadFile(h.program)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(other, text, 0o755))
	require.NoError(t, os.Chmod(other, 0o755|os.ModeSetuid))
	h.supervisors(t, func(t *testing.T, h *hostile) {
		ends, said := h.run(t, "swap", "2", h.good, other)
		swaps(t, ends, said)
	})
}

// The same with a set-user-id guest. For it, the host's binfmt_misc executes the same emulator
// with the rights of the guest's owner (flag C).
func TestSwappedForSetID(t *testing.T) {
	need.Root(t)
	h := newHostile(t)
	require.NoError(t, os.Chmod(h.secret, 0o755|os.ModeSetuid))
	self, err := os.Executable()
	require.NoError(t, err)
	entry := []string{self, "aarch64", need.Emulator(t, "aarch64"), "--"}
	env := []string{referenceEnv + "=OC"}
	ends, _ := h.as(t, namespace(), env, append(entry, h.program, "run", h.secret)...)
	need.Given(t, ends[asRoot] == 1, "a binfmt_misc in a user namespace, Linux 6.7, that executes set-user-id guests")

	ends, said := h.as(t, namespace(), env, append(entry, h.binproxy, "run", "--route", "supervise", "--", h.program, "swap", "2", h.good, h.secret)...)
	swaps(t, ends, said)
}

// A thread executes a guest while the leader of its group is stopped again and again; the exec
// ends the leader. What the supervisor does about those stops does not affect the new program.
func TestOvertakenLeader(t *testing.T) {
	h := newHostile(t)
	times := 40
	if !testing.Short() {
		times = 300
	}
	h.supervisors(t, func(t *testing.T, h *hostile) {
		ends, _ := h.run(t, "overtake", strconv.Itoa(times), h.good)
		assert.Equal(t, map[int]int{good: times}, ends)
	})
}

// A path leads by turns to a file that the caller may not execute and to one that it may. The
// first is never executed, however often the kernel is asked about the second.
func TestFlippedPath(t *testing.T) {
	need.Root(t)
	h := newHostile(t)
	place := filepath.Join(h.dir, "place")
	require.NoError(t, os.Mkdir(place, 0o777))
	require.NoError(t, os.Chmod(place, 0o777))
	check := func(t *testing.T, namespace string) {
		ends, _ := h.run(t, "flip", "8", namespace, place, h.secret, h.good)
		assert.Zero(t, ends[secret])
		assert.Equal(t, 8, ends[good])
	}
	require.NoError(t, os.Chmod(h.secret, 0o700))
	check(t, "0")

	// As root of a user namespace the caller has the capabilities that override file permissions,
	// but they do not apply to this directory.
	hidden := filepath.Join(h.dir, "hidden")
	require.NoError(t, os.Mkdir(hidden, 0o700))
	require.NoError(t, os.Rename(h.secret, filepath.Join(hidden, "secret")))
	h.secret = filepath.Join(hidden, "secret")
	require.NoError(t, os.Chmod(h.secret, 0o711))
	check(t, "1")
}

// A process that is not dumpable executes a guest. No other process of its user can read its
// memory before, however hard it tries. The parent of a vfork is afterwards as it was.
func TestUndumpable(t *testing.T) {
	h := newHostile(t)
	h.supervisors(t, func(t *testing.T, h *hostile) {
		if !h.user {
			h.place = container
			defer func() { h.place = "" }()
		}
		ends, _ := h.run(t, "undumpable", "20", h.good)
		assert.Equal(t, map[int]int{good: 20}, ends)
		ends, _ = h.run(t, "lends", h.good)
		assert.Equal(t, map[int]int{good: 1, 0: 1}, ends)
	})
}
