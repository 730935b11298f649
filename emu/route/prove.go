package route

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// Errors of Prove that are the kernel's own answers.
const (
	ErrUnknown = exit.Sentinel("its binfmt_misc has no entry for them")
	ErrNoEmu   = exit.Sentinel("its binfmt_misc has an entry for them, but the emulator is not there")
	ErrDenied  = exit.Sentinel("permission denied: the emulator cannot be executed, or /proc/sys/vm/memfd_noexec forbids the proof")
)

// patience is how long the smallest program may take; an interpreter that waits is no proof.
const patience = 10 * time.Second

// Prove is nil where the kernel itself runs programs of the ABI, with root as their root directory
// ("" for our own). It runs the smallest program, from memory. It writes nothing, and needs /proc.
func Prove(abi *arch.ABI, root string) error {
	program, err := InMemory(abi)
	if err != nil {
		return err
	}
	defer program.Close()
	const none = ^uintptr(0) // closed: a proof prints nothing
	attr := &syscall.ProcAttr{Dir: "/", Files: []uintptr{none, none, none, program.Fd()}}
	if root != "" {
		attr.Sys = &syscall.SysProcAttr{Chroot: root}
	}
	pid, err := syscall.ForkExec("/proc/self/fd/3", []string{"tiny"}, attr)
	switch {
	case errors.Is(err, unix.ENOEXEC):
		return ErrUnknown
	case errors.Is(err, unix.ENOENT) && unix.Access(root+"/proc/self", unix.F_OK) != nil:
		return fmt.Errorf("there is no /proc in %s to try it by", cmp.Or(root, "/"))
	case errors.Is(err, unix.ENOENT):
		return ErrNoEmu
	case errors.Is(err, unix.EACCES):
		return ErrDenied
	case err != nil:
		return fmt.Errorf("execute the smallest program of %s: %w", abi.Name, err)
	}
	return await(pid)
}

// InMemory is a file in memory with the smallest program of the ABI.
func InMemory(abi *arch.ABI) (*os.File, error) {
	return sys.Memory("tiny-"+abi.Name, tiny.Program(abi))
}

// await waits for the proof's end without a goroutine, since shims have none.
func await(pid int) error {
	var status unix.WaitStatus
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Microsecond) {
		ended, s, err := sys.WaitChild(pid, unix.WNOHANG)
		if err != nil {
			return err
		}
		if ended == pid {
			status = s
			break
		}
		if time.Now().After(deadline) {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _, _ = sys.WaitChild(pid, 0)
			return fmt.Errorf("the smallest program still ran after %v", patience)
		}
	}
	switch {
	case status.Exited() && status.ExitStatus() == tiny.Status:
		return nil
	case status.Exited():
		return fmt.Errorf("the smallest program ended with status %d, not %d", status.ExitStatus(), tiny.Status)
	}
	return errors.New("the smallest program was ended by signal " + strconv.Itoa(int(status.Signal())))
}
