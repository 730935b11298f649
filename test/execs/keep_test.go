package execs

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// keeper compiles the command of these tests for aarch64.
func keeper(t *testing.T) string {
	t.Helper()
	need.Emulator(t, "aarch64")
	out := filepath.Join(t.TempDir(), "keeps")
	gcc := need.Program(t, "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
	text, err := exec.Command(gcc, "-static", "-O1", "-w", "-o", out, "testdata/keeps.c").CombinedOutput()
	require.NoError(t, err, "%s", text)
	return out
}

// keep runs a command by `run --keep-pid`, and gives its process and its output on both streams.
func keep(t *testing.T, argv ...string) (*os.ProcessState, string) {
	t.Helper()
	cmd := exec.Command(built.Binproxy(t), append([]string{"run", "--keep-pid", "--"}, argv...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = patience
	err := cmd.Run()
	require.NotNil(t, cmd.ProcessState, "%v", err)
	require.NotErrorIs(t, err, exec.ErrWaitDelay, "somebody holds the streams")
	return cmd.ProcessState, said.String()
}

// The process that was started becomes the command: it has the command's PID and end, and no child
// that the command did not make.
func TestKeepPID(t *testing.T) {
	k := keeper(t)
	for _, c := range []struct {
		what, says string
		status     string
	}{
		{"exits", "", "exit status 5"},
		{"dies", "", "signal: terminated"},
		{"children", fmt.Sprintf("3 children, sum 6, at last %d\n", unix.ECHILD), "exit status 5"},
	} {
		state, said := keep(t, k, c.what)
		assert.Equal(t, fmt.Sprintf("pid %d, wait -1: %d\n%s", state.Pid(), unix.ECHILD, c.says), said)
		assert.Equal(t, c.status, state.String())
	}
	state, _ := keep(t, "/nonexistent/program")
	require.Equal(t, 127, state.ExitCode())
}

// As the first process of a PID namespace the command has number 1. Its supervisor is a child that
// wait does not show, and that has no arguments by which a search for the command could find it.
func TestKeepPIDOne(t *testing.T) {
	k := keeper(t)
	argv := []string{"--pid", "--fork", "--mount-proc", built.Binproxy(t), "run", "--keep-pid", "--"}
	if os.Geteuid() != 0 {
		argv = append([]string{"--user", "--map-root-user"}, argv...)
	}
	unshare := need.Program(t, "unshare", "util-linux")
	need.Given(t, exec.Command(unshare, append(argv[:len(argv)-4:len(argv)-4], "true")...).Run() == nil, "a PID namespace")

	said, err := exec.Command(unshare, append(argv, k, "children")...).CombinedOutput()
	require.Equal(t, fmt.Sprintf("pid 1, wait -1: %[1]d\n3 children, sum 6, at last %[1]d\n", unix.ECHILD), string(said))
	require.EqualError(t, err, "exit status 5")

	look := `for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline; echo; done`
	said, err = exec.Command(unshare, append(argv, "sh", "-c", look)...).CombinedOutput()
	require.NoError(t, err, "%s", said)
	lines := strings.Split(string(said), "\n")
	assert.Contains(t, lines[0], "sh -c for p")
	assert.Equal(t, "binproxy-command", strings.TrimRight(lines[1], " "))
}

// Processes that the command leaves behind live on, supervised; nobody holds the command's streams
// for them.
func TestKeepPIDLeaves(t *testing.T) {
	k := keeper(t)
	file := filepath.Join(t.TempDir(), "file")
	state, said := keep(t, k, "leaves", file)
	require.Equal(t, 5, state.ExitCode(), said)
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(file)
		return string(text) == "later"
	}, patience, 10*time.Millisecond)
	gone(t, k)
}

// A command that enters a running container from outside leaves a daemon there, as without us, and
// one in a root of its own does so where it is asked to.
func TestEnteredLeaves(t *testing.T) {
	need.Root(t)
	unshare, nsenter := need.Program(t, "unshare", "util-linux"), need.Program(t, "nsenter", "util-linux")
	container := exec.Command(unshare, "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sleep", "1000")
	require.NoError(t, container.Start())
	t.Cleanup(func() { _ = container.Process.Kill(); _ = container.Wait() })
	outer := fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", container.Process.Pid)
	var first string
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(outer)
		first = strings.TrimSpace(string(text))
		comm, _ := os.ReadFile("/proc/" + first + "/comm")
		return first != "" && string(comm) == "sleep\n"
	}, patience, 10*time.Millisecond)

	dir := t.TempDir()
	enter := []string{nsenter, "--target", first, "--pid", "--mount"}
	daemon := `setsid sh -c 'sleep 0.3; exec sh -c "echo later >\$0" "$0"' "$0" </dev/null >/dev/null 2>&1 & exit 5`
	for name, argv := range map[string][]string{
		"alone":     slices.Concat(enter, []string{"sh", "-c", daemon, dir + "/alone"}),
		"entered":   slices.Concat(enter, []string{built.Binproxy(t), "run", "--", "sh", "-c", daemon, dir + "/entered"}),
		"in a root": {built.Binproxy(t), "run", "--keep-pid", "--root", "/", "--", "sh", "-c", daemon, dir + "/in a root"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(argv[0], argv[1:]...)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, patience
			err := cmd.Run()
			require.EqualError(t, err, "exit status 5", "%s", &said)
			require.Eventually(t, func() bool {
				text, _ := os.ReadFile(filepath.Join(dir, name))
				return string(text) == "later\n"
			}, patience/4, 10*time.Millisecond)
		})
	}
}

// A signal to the command's group is for the command, and not for the supervisor.
func TestKeepPIDSignals(t *testing.T) {
	a := actor(t)
	cmd := exec.Command(built.Binproxy(t), "run", "--keep-pid", "--", a, "waits")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := running{cmd, bufio.NewReader(out)}
	require.Equal(t, "ready", r.line(t))
	require.NoError(t, unix.Kill(-cmd.Process.Pid, unix.SIGUSR1))
	require.Equal(t, "signal 10", r.line(t))
	require.Equal(t, 5, r.status(t))
}
