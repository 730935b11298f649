// Package userns starts programs in a user and a mount namespace of their own, with a binfmt_misc
// of their own: foreign programs run there, and nothing changes outside. The userns route,
// bootstraps and containers start programs this way.
//
// A Go program has threads, and so cannot enter a user namespace itself. Start therefore clones a
// child into the new namespaces, which is this program again in a private mode (emu/entrypoint).
// The child has no ids of its own until its parent has written the id maps; it waits for that at a
// pipe. Between the clone and the maps it keeps its capabilities over the exec as ambient ones.
package userns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/entrypoint"
	"binproxy/emu/sys"
)

// setupCaps are what a child needs until its next exec: to mount, to chroot, to become root, to
// make files in a root, and to map an inner namespace's ids to root (SETFCAP, since Linux 5.12).
var setupCaps = [...]uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETFCAP, unix.CAP_DAC_OVERRIDE, unix.CAP_CHOWN, unix.CAP_FOWNER}

// arrival is a message, and what Arrive itself needs.
type arrival struct {
	gate int  // the child's end of the pipe
	root bool // become root of the namespace
	entrypoint.Message
}

func (a *arrival) Fields(w *entrypoint.Words) {
	entrypoint.Number(w, &a.gate)
	w.Bool(&a.root)
	a.Message.Fields(w)
}

// Child is a process in namespaces of its own. Files are its descriptors from 3 on. It is killed
// when the thread that started it ends, unless it is detached.
type Child struct {
	IDs      IDs
	Env      []string // nil for ours
	Detached bool
	Files    []*os.File
}

// Start starts the child at the entrypoint, which has to call Arrive first.
func (c Child) Start(name entrypoint.Name, m entrypoint.Message) (*exec.Cmd, error) {
	if err := sys.RoomForChild(); err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	defer write.Close()
	gate, files, err := c.giveGate(read)
	if err != nil {
		return nil, err
	}
	cmd := entrypoint.Command(name, &arrival{gate, c.IDs.Root, m})
	cmd.Env, cmd.ExtraFiles = c.Env, files
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Setsid: c.Detached}
	if c.IDs.PID {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID
	}
	if !c.IDs.None {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.AmbientCaps = setupCaps[:]
	}
	if !c.Detached {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return nil, cloneError(err)
	}
	if err = c.IDs.write(cmd.Process.Pid); err == nil {
		_, err = write.Write([]byte{0})
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	return cmd, nil
}

// giveGate chooses the child's number for its end of the pipe, and its list of files. With Files
// the number comes after theirs, which are given; without, it is the pipe's number here, which is
// free in what a command inherits.
func (c Child) giveGate(gate *os.File) (fd int, files []*os.File, err error) {
	if len(c.Files) > 0 {
		return 3 + len(c.Files), append(c.Files[:len(c.Files):len(c.Files)], gate), nil
	}
	_, err = unix.FcntlInt(gate.Fd(), unix.F_SETFD, 0)
	return int(gate.Fd()), nil, os.NewSyscallError("fcntl(F_SETFD)", err)
}

func cloneError(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("this machine does not let us make a user or mount namespace (see /proc/sys/kernel/unprivileged_userns_clone, "+
			"/proc/sys/kernel/apparmor_restrict_unprivileged_userns, and a container's seccomp profile): %w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EUSERS):
		return fmt.Errorf("no more user namespaces (/proc/sys/user/max_user_namespaces): %w", err)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("this kernel has no user namespaces (CONFIG_USER_NS): %w", err)
	}
	return err
}

// Arrive is the child's first step. It reads the message, waits for the maps, becomes the user
// that it has to be, and cuts its mounts off from all others. The error io.EOF means that the
// parent has ended.
func Arrive(words []string, m entrypoint.Message) error {
	a := arrival{Message: m}
	if err := entrypoint.Read(words, &a); err != nil {
		return err
	}
	gate := os.NewFile(uintptr(a.gate), "pipe")
	_, err := io.ReadFull(gate, make([]byte, 1))
	gate.Close()
	if err != nil {
		return fmt.Errorf("the program that started this one has ended: %w", err)
	}
	if a.root {
		if err := becomeRoot(); err != nil {
			return err
		}
	}
	return sys.MakePrivate("/")
}

// becomeRoot also gives up the outer groups.
func becomeRoot() error {
	// refused if only one id is mapped
	if err := syscall.Setgroups(nil); err != nil && !errors.Is(err, syscall.EPERM) {
		return os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return os.NewSyscallError("setresgid", err)
	}
	return os.NewSyscallError("setresuid", syscall.Setresuid(0, 0, 0))
}

// dropAmbient leaves to a program that this thread execs only the rights of its ids.
func dropAmbient() error {
	runtime.LockOSThread() // capabilities are a thread's
	return os.NewSyscallError("prctl(PR_CAP_AMBIENT)", unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
}
