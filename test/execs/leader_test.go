package execs

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
	"binproxy/test/lib/built"
)

// execers runs a program to its end under a tracer that stops it at each call, as PRoot does, and
// counts the execs by threads that did not lead their processes. Our supervisor is refused here.
func execers(t *testing.T, argv ...string) (others int, end unix.WaitStatus) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer null.Close()
	pid, err := sys.StartSeized(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}}, options)
	require.NoError(t, err)
	for {
		stop, err := sys.Wait(-1)
		require.NoError(t, err)
		if !stop.Status.Stopped() {
			if stop.TID == pid {
				return others, stop.Status
			}
			continue
		}
		var signal unix.Signal
		switch stop.Event() {
		case 0:
			if !stop.IsSyscall() {
				signal = stop.Status.StopSignal()
			}
		case unix.PTRACE_EVENT_EXEC:
			former, err := sys.EventMessage(stop.TID)
			require.NoError(t, err)
			if int(former) != stop.TID {
				others++
			}
		}
		_ = sys.ContinueToSyscall(stop.TID, signal)
	}
}

// Whatever a process of ours becomes, the thread that leads it executes, as everywhere with one
// thread. Tracers of others rely on it: PRoot loses the command otherwise.
func TestLeaderExecs(t *testing.T) {
	binproxy := built.Binproxy(t)
	copied := filepath.Join(t.TempDir(), "other-name")
	text, err := os.ReadFile(binproxy)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, text, 0o755))
	program, err := exec.LookPath("true")
	require.NoError(t, err)
	for _, argv := range [][]string{
		{binproxy, "run", "--", program},
		{copied, "run", "--", program},
		{binproxy, "run", "--keep-pid", "--", program},
		{binproxy, "run", "--route", "farm", "--", program},
		{binproxy, "run", "--route", "userns", "--", program},
	} {
		for range 6 {
			others, end := execers(t, argv...)
			if !assert.Equal(t, 0, others, "%v", argv[1:]) || !assert.Equal(t, 0, end.ExitStatus(), "%v", argv[1:]) {
				break
			}
		}
	}
}
