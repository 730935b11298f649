// Restrict runs a command under restrictions that are known from machines and containers. It is a
// program for tests.
//
//	restrict [-deny CALL,...] [-errno N] [-no-listener] [-user ID] COMMAND [ARGUMENT...]
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/seccomp"
	"binproxy/emu/sys"
)

var numbers = map[string]uint32{
	"ptrace": unix.SYS_PTRACE, "seccomp": unix.SYS_SECCOMP, "process_vm_readv": unix.SYS_PROCESS_VM_READV,
	"unshare": unix.SYS_UNSHARE, "memfd_create": unix.SYS_MEMFD_CREATE, "fchmodat2": unix.SYS_FCHMODAT2,
}

func main() {
	deny := flag.String("deny", "", "")
	errno := flag.Int("errno", int(unix.EPERM), "")
	noListener := flag.Bool("no-listener", false, "")
	user := flag.Int("user", 0, "")
	flag.Parse()
	runtime.LockOSThread() // the filter is this thread's, and so the command's
	var rules []seccomp.Rule
	for name := range strings.SplitSeq(*deny, ",") {
		if name == "" {
			continue
		}
		if name == "userns" {
			rules = append(rules, cloneRules(uint16(*errno))...)
			continue
		}
		number, ok := numbers[name]
		if !ok {
			fail(fmt.Errorf("unknown call %q", name))
		}
		rules = append(rules, seccomp.Rule{Arch: arch.Host().Audit(), Number: number, Action: seccomp.Fail(uint16(*errno))})
	}
	if *noListener {
		for _, flags := range []uint64{sys.Listener, sys.Listener | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW} {
			rules = append(rules, seccomp.Rule{Arch: arch.Host().Audit(), Number: unix.SYS_SECCOMP,
				When: &seccomp.Equal{Arg: 1, Value: flags}, Action: seccomp.Fail(uint16(unix.EINVAL))})
		}
	}
	if len(rules) > 0 {
		code, err := seccomp.Assemble(rules)
		fail(err)
		fail(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		_, err = sys.InstallFilter(code, 0)
		fail(err)
	}
	if *user != 0 {
		fail(syscall.Setgroups(nil))
		fail(syscall.Setgid(*user))
		fail(syscall.Setuid(*user))
	}
	fail(syscall.Exec(flag.Arg(0), flag.Args(), os.Environ()))
}

// cloneRules refuse the clone flags by which programs here make user namespaces. (Equal compares
// whole arguments.)
func cloneRules(errno uint16) []seccomp.Rule {
	const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
	var rules []seccomp.Rule
	for _, more := range []uint64{0, unix.CLONE_PIDFD, unix.CLONE_VFORK | unix.CLONE_VM, unix.CLONE_VFORK | unix.CLONE_VM | unix.CLONE_PIDFD} {
		rules = append(rules, seccomp.Rule{Arch: arch.Host().Audit(), Number: unix.SYS_CLONE,
			When: &seccomp.Equal{Arg: 0, Value: namespaces | more | uint64(unix.SIGCHLD)}, Action: seccomp.Fail(errno)})
	}
	return rules
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "restrict:", err)
		os.Exit(120)
	}
}
