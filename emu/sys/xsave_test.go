package sys

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The size is the one that the running kernel has for a tracee's registers.
func TestXSaveSize(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		assert.Zero(t, XSaveSize())
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var ws syscall.WaitStatus
	_, err := syscall.Wait4(cmd.Process.Pid, &ws, 0, nil)
	require.NoError(t, err)
	const xstate = 0x202 // NT_X86_XSTATE
	buf := make([]byte, 1<<16)
	iov := unix.Iovec{Base: &buf[0]}
	iov.SetLen(len(buf))
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, uintptr(cmd.Process.Pid), xstate, uintptr(unsafe.Pointer(&iov)), 0, 0)
	if errno == unix.ENODEV {
		assert.Zero(t, XSaveSize(), "a CPU without XSAVE")
		return
	}
	require.Zero(t, errno)
	assert.Equal(t, int(iov.Len), XSaveSize())
}
