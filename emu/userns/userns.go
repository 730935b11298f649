// Package userns starts programs in a user and a mount namespace of their own, with a binfmt_misc
// of their own: foreign programs run there, and nothing is changed outside. It is the userns
// route, and what bootstraps and containers stand on.
//
// A Go program has threads and cannot enter a user namespace itself. So Start clones a child into
// the new ones, and that is this program again in a private mode. The child waits until its
// parent has written the id maps (a process has no id of its own before) and then learns over a
// pipe what to do. Between the clone and the maps it holds its capabilities over the exec as
// ambient ones.
package userns

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// message is what the parent says when the maps are written.
type message struct {
	Root bool // become root of the namespace
	Spec json.RawMessage
}

// setupCaps are what a child needs until its next exec: to mount, to chroot, to become root, to
// make files in a root, and to map an inner namespace's ids to root (SETFCAP, since Linux 5.12).
var setupCaps = [...]uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETFCAP, unix.CAP_DAC_OVERRIDE, unix.CAP_CHOWN, unix.CAP_FOWNER}

// Start starts this program anew with args, in namespaces of its own with the ids. The child
// calls Arrive with a pointer to a value like spec. Files are the child's descriptors 3 and up.
// The child is killed when the calling thread ends, unless detached.
func Start(args []string, ids IDs, spec any, detached bool, files ...*os.File) (*exec.Cmd, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	defer write.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "binproxy"
	cmd.ExtraFiles = files
	if err := giveGate(cmd, read); err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Setsid: detached}
	if ids.PID {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID
	}
	if !ids.None {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.AmbientCaps = setupCaps[:]
	}
	if detached {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, nil, nil
	} else {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		return nil, cloneError(err)
	}
	if err := admit(cmd.Process.Pid, ids, spec, write); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	return cmd, nil
}

// giveGate tells the child where it finds its end of the pipe, as the last argument: where we
// have it ourselves, since that number is free in what a command inherits; behind the files,
// which take the numbers that they are given.
func giveGate(cmd *exec.Cmd, gate *os.File) error {
	fd := int(gate.Fd())
	if len(cmd.ExtraFiles) > 0 {
		fd = 3 + len(cmd.ExtraFiles)
		cmd.ExtraFiles = append(cmd.ExtraFiles, gate)
	} else if _, err := unix.FcntlInt(gate.Fd(), unix.F_SETFD, 0); err != nil {
		return os.NewSyscallError("fcntl(F_SETFD)", err)
	}
	cmd.Args = append(cmd.Args, strconv.Itoa(fd))
	return nil
}

func admit(pid int, ids IDs, spec any, pipe *os.File) error {
	if err := ids.write(pid); err != nil {
		return err
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return json.NewEncoder(pipe).Encode(message{ids.Root, text})
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

// Arrive is the first thing that the child does: it waits for the maps, becomes who it is to be,
// cuts its mounts from all others, and reads what it was told into spec. An error that is io.EOF
// means that the parent has ended.
func Arrive(spec any) error {
	fd, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err != nil {
		return errors.New("this is not to be called by hand")
	}
	pipe := os.NewFile(uintptr(fd), "pipe")
	defer pipe.Close()
	unix.CloseOnExec(fd)
	var m message
	if err := json.NewDecoder(pipe).Decode(&m); err != nil {
		return fmt.Errorf("the program that started this one has ended: %w", err)
	}
	if m.Root {
		if err := becomeRoot(); err != nil {
			return err
		}
	}
	if err := sys.MakePrivate("/"); err != nil {
		return err
	}
	return json.Unmarshal(m.Spec, spec)
}

// becomeRoot gives up the groups of outside, too.
func becomeRoot() error {
	// refused where only one id is mapped
	if err := syscall.Setgroups(nil); err != nil && !errors.Is(err, syscall.EPERM) {
		return os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return os.NewSyscallError("setresgid", err)
	}
	return os.NewSyscallError("setresuid", syscall.Setresuid(0, 0, 0))
}

// dropAmbient leaves to what this thread execs only the rights that its ids give it.
func dropAmbient() error {
	runtime.LockOSThread() // capabilities are a thread's
	return os.NewSyscallError("prctl(PR_CAP_AMBIENT)", unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
}
