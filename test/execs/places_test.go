package execs

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/seccomp"
	"binproxy/emu/sys"
)

// placeEnv makes the test binary one of the places where a supervisor may run, and exec its
// arguments there.
const placeEnv = "BINPROXY_TEST_PLACE"

// The places.
const (
	// root as in Docker's builds: without CAP_SYS_PTRACE and CAP_SYS_ADMIN, with process_vm_readv
	// and its sibling refused
	container = "container"
	noKill    = "no-kill"  // root without CAP_KILL
	old       = "old"      // a kernel, or a filter, without openat2 and faccessat2
	listener  = "listener" // under a filter that has a listener already
)

func confine(place string, argv []string) error {
	os.Unsetenv(placeEnv)
	runtime.LockOSThread()
	var err error
	switch place {
	case container:
		if err = drop(unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN); err == nil {
			err = deny(unix.EPERM, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV)
		}
	case noKill:
		err = drop(unix.CAP_KILL)
	case old:
		err = deny(unix.ENOSYS, unix.SYS_OPENAT2, unix.SYS_FACCESSAT2)
	case listener:
		err = listen()
	default:
		err = fmt.Errorf("no such place: %s", place)
	}
	if err != nil {
		return err
	}
	return syscall.Exec(argv[0], argv, os.Environ())
}

func drop(capabilities ...int) error {
	for _, c := range capabilities {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

func deny(errno syscall.Errno, calls ...uint32) error {
	var rules []seccomp.Rule
	for _, nr := range calls {
		rules = append(rules, seccomp.Rule{Arch: arch.Host().Audit(), Number: nr, Action: seccomp.Fail(uint16(errno))})
	}
	code, err := seccomp.Assemble(rules)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, err = sys.InstallFilter(code, 0)
	return err
}

func listen() error {
	code, err := seccomp.Assemble(nil)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fd, err := sys.InstallFilter(code, sys.Listener)
	if err != nil {
		return err
	}
	// It counts while somebody has it open: out of the probe's sight.
	return unix.Dup2(fd, 900)
}
