package sys

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Join starts a program inside namespaces that exist. A process with threads cannot enter a user namespace, and a Go program has threads; so
// the entering is done between fork and exec, where the child has but one, by bare system calls: no Go code that allocates, locks or
// grows its stack may run there.
type Join struct {
	Namespaces []*os.File // entered in this order
	Root       bool       // become uid 0 and gid 0 of the last user namespace, with no other groups
	Exe        *os.File   // the program, by its file: its path may not exist in there
	Argv, Env  []string
}

// The runtime's own preparations for a fork: signals blocked, no preemption, handlers gone in the child. Their linknames are kept for gVisor, which does
// what we do.
//
//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// joinSteps are the names of what can fail in the child, for errors.
var joinSteps = [...]string{"fork", "enter the namespace", "setgroups", "setresgid", "setresuid", "exec"}

const (
	stepFork = uintptr(iota)
	stepEnter
	stepGroups
	stepGID
	stepUID
	stepExec
)

// failure is what the child writes into the pipe when it cannot go on.
type failure struct{ step, errno uintptr }

// Start starts the program as a child, with our standard files and nothing else open, and gives its process id. It is the caller's to wait for: an os.Process
// would start a process of its own first, to find out what pidfds can do here.
func (j Join) Start() (int, error) {
	argv, err := syscall.SlicePtrFromStrings(j.Argv)
	if err != nil {
		return 0, err
	}
	env, err := syscall.SlicePtrFromStrings(j.Env)
	if err != nil {
		return 0, err
	}
	c := child{argv: &argv[0], env: &env[0], empty: new(byte), exe: j.Exe.Fd(), root: j.Root, ignored: ignored}
	for _, ns := range j.Namespaces {
		c.namespaces = append(c.namespaces, ns.Fd())
	}
	read, write, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer read.Close()
	c.pipe = write.Fd()

	syscall.ForkLock.Lock()
	pid, errno := c.fork()
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(j)
	write.Close()
	if errno != 0 {
		return 0, fmt.Errorf("%s: %w", joinSteps[stepFork], errno)
	}
	var f failure
	if n, _ := read.Read(unsafe.Slice((*byte)(unsafe.Pointer(&f)), unsafe.Sizeof(f))); n == int(unsafe.Sizeof(f)) {
		_, _ = unix.Wait4(int(pid), nil, 0, nil)
		errno := syscall.Errno(f.errno)
		if f.step == stepEnter && errors.Is(errno, syscall.EPERM) {
			return 0, fmt.Errorf("%s: %w: it belongs to another user", joinSteps[f.step], errno)
		}
		return 0, fmt.Errorf("%s: %w", joinSteps[f.step], errno)
	}
	return int(pid), nil
}

// child is all that the child needs, ready made.
type child struct {
	argv, env  **byte
	empty      *byte // the empty path: exec the file itself
	namespaces []uintptr
	exe, pipe  uintptr
	root       bool
	ignored    uint64
}

// ignoredAction is the start of the kernel's struct: all but the handler stays zero.
type ignoredAction struct {
	handler uintptr
	_       [7]uintptr
}

//go:noinline
//go:norace
//go:nocheckptr
func (c *child) fork() (pid uintptr, errno syscall.Errno) {
	var f failure
	ignore := ignoredAction{handler: 1} // SIG_IGN
	flags, stack := uintptr(syscall.SIGCHLD), uintptr(0)
	if runtime.GOARCH == "s390x" {
		flags, stack = stack, flags // its clone(2) has these two the other way round
	}
	beforeFork()
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, flags, stack, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()
	for n := uintptr(1); n <= 64; n++ {
		if c.ignored&(1<<(n-1)) != 0 {
			syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, n, uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0)
		}
	}
	f.step = stepEnter
	for i := 0; i < len(c.namespaces); i++ {
		if _, _, e := syscall.RawSyscall(unix.SYS_SETNS, c.namespaces[i], 0, 0); e != 0 {
			f.errno = uintptr(e)
			goto failed
		}
	}
	if c.root {
		f.step = stepGroups
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			f.errno = uintptr(e)
			goto failed
		}
		f.step = stepGID
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESGID, 0, 0, 0); e != 0 {
			f.errno = uintptr(e)
			goto failed
		}
		f.step = stepUID
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, 0, 0, 0); e != 0 {
			f.errno = uintptr(e)
			goto failed
		}
	}
	f.step = stepExec
	_, _, errno = syscall.RawSyscall6(unix.SYS_EXECVEAT, c.exe, uintptr(unsafe.Pointer(c.empty)), uintptr(unsafe.Pointer(c.argv)),
		uintptr(unsafe.Pointer(c.env)), unix.AT_EMPTY_PATH, 0)
	f.errno = uintptr(errno)
failed:
	syscall.RawSyscall(syscall.SYS_WRITE, c.pipe, uintptr(unsafe.Pointer(&f)), unsafe.Sizeof(f))
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
	}
}
