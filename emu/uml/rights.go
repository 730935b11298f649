package uml

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/seccomp"
	"binproxy/emu/sys"
)

// A kernel that a guest has taken over is a process in the jail. It cannot use what it does not
// have here.

// lastFD is the last of the file descriptors that the kernel gets.
func (j *job) lastFD() int {
	if j.Net == vectorNIC {
		return fdNet
	}
	return fdStderr
}

// keepInherited keeps the caller's open files from the kernel.
func (j *job) keepInherited() error {
	open, err := os.ReadDir("/proc/self/fd")
	for _, f := range open {
		if fd, err := strconv.Atoi(f.Name()); err == nil && fd > j.lastFD() {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// openInput opens the directory for standard input, where the host side finds it.
func openInput() error {
	fd, err := sys.Open(jailBoot+inputDir, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		err = unix.Dup3(fd, fdInput, unix.O_CLOEXEC)
	}
	return wrap(err, "open %s", inputDir)
}

// kept are the capabilities of the kernel: under root, the ones by which root reads and writes
// files of several owners. With them alone it can neither leave the jail nor make a device.
func (j *job) kept() []uintptr {
	kept := []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_FSETID}
	if !j.writes() {
		return kept[:1]
	}
	return kept
}

// writes reports whether the guest may write to any file of the host.
func (j *job) writes() bool {
	return j.Mode == modeRW || j.LayerDir != "" || slices.Contains(j.Binds, modeRW)
}

// dropRights takes every other capability from this thread and its children, permanently.
func (j *job) dropRights() error {
	kept := j.kept()
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(kept, c) {
			continue
		}
		// EINVAL: an older kernel's last capability is lower.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	// A program of root's gets the inheritable ones, whatever the bounding set says.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	if err == nil {
		data[0].Inheritable, data[1].Inheritable = 0, 0
		err = unix.Capset(&header, &data[0])
	}
	if err != nil {
		return fmt.Errorf("drop the inheritable capabilities: %w", err)
	}
	return wrap(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl PR_SET_NO_NEW_PRIVS")
}

// x32 is the bit of an x32 call's number.
const x32 = 1 << 30

// refuseSockets keeps this thread and its children from the sockets that servers of the host have
// in the jail's directories, which no mount option does. A pair of datagram sockets could send to
// any of them, and is refused, as are sockets of the host's kernel. The network namespace limits
// the sockets of the Internet's protocols. io_uring, and calls as i386, would get around these
// rules. The helper slirp ends if it cannot make a socket with a path, though it connects to none
// that exists. It is the kernel's child, and whatever it may do, the kernel may do.
func (j *job) refuseSockets() error {
	x86, i386, refused := arch.Get("x86_64").Audit(), arch.Get("i386").Audit(), seccomp.Fail(uint16(unix.EACCES))
	const domain, kind, kinds = 0, 1, 0xf
	var rules []seccomp.Rule
	for _, bit := range []uint32{0, x32} {
		may := func(call uint32, arg int, value, mask uint64) {
			rules = append(rules, seccomp.Rule{Arch: x86, Number: call | bit, When: &seccomp.Equal{Arg: arg, Value: value, Mask: mask}, Action: seccomp.Allow})
		}
		may(unix.SYS_SOCKET, domain, unix.AF_INET, 1<<32-1)
		may(unix.SYS_SOCKET, domain, unix.AF_INET6, 1<<32-1)
		if j.Helper != "" {
			may(unix.SYS_SOCKET, domain, unix.AF_UNIX, 1<<32-1)
		}
		may(unix.SYS_SOCKETPAIR, kind, unix.SOCK_STREAM, kinds)
		may(unix.SYS_SOCKETPAIR, kind, unix.SOCK_SEQPACKET, kinds)
		for _, call := range []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_IO_URING_SETUP} {
			rules = append(rules, seccomp.Rule{Arch: x86, Number: call | bit, Action: refused})
		}
	}
	// socketcall, socket, socketpair, io_uring_setup
	for _, call := range []uint32{102, 359, 360, 425} {
		rules = append(rules, seccomp.Rule{Arch: i386, Number: call, Action: refused})
	}
	filter, err := seccomp.Assemble(rules)
	if err != nil {
		return err
	}
	return sys.Confine(filter)
}
