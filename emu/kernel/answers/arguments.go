package answers

import (
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/kernel"
	"binproxy/emu/sys"
)

// Most calls refuse an argument with all bits set: no such descriptor, process, address, flag,
// command or clock exists. The calls below would do something with it, or answer ENOSYS to it
// although the kernel has them.
const bad = ^uintptr(0)

var allBad = [6]uintptr{bad, bad, bad, bad, bad, bad}

// special gives a call other arguments. 0x62696e70 is a key that nobody uses; the calls look it up
// and do not make it.
var special = [...]struct {
	name string
	args [6]uintptr
}{
	{"alarm", [6]uintptr{}}, // cancels an alarm; there is none
	{"brk", [6]uintptr{}},   // 32 set bits would make the heap 4 GiB
	// FUTEX_WAKE at an odd address; an unknown operation gives ENOSYS
	{"futex", [6]uintptr{bad, 1, 0, bad, bad}},
	{"futex_time64", [6]uintptr{bad, 1, 0, bad, bad}},
	// semop on a set that does not exist; an unknown operation gives ENOSYS
	{"ipc", [6]uintptr{1, bad, bad, bad, bad, bad}},
	{"kill", [6]uintptr{1 << 30, 0}}, // signal 0, to nobody
	// reads nothing; an unknown function gives ENOSYS
	{"modify_ldt", [6]uintptr{0, 0, 0}},
	{"msgget", [6]uintptr{0x62696e70, 0}}, // all flags would make a queue
	{"semget", [6]uintptr{0x62696e70, 0, 0}},
	{"shmget", [6]uintptr{0x62696e70, 0, 0}},
	{"nice", [6]uintptr{}},
	{"ssetmask", [6]uintptr{}},
	{"set_tid_address", [6]uintptr{0}},
}

// enders end the process that asks.
var enders = []string{"exit_group", "rt_sigreturn", "sigreturn", "uretprobe"}

// unasked are the calls that are harmful with any arguments.
var unasked = [...][2]string{
	{"exit", "it ends the thread that asks and leaves the process waiting"},
	{"pause", "it does not return"},
	{"sigsuspend", "it does not return"},
	{"sync", "it writes everything out, however long that takes"},
	{"vfork", "the child would run on the stack of the process that asks"},
}

// privileged are the calls to which the kernel itself answers EPERM, or EACCES, before it looks at
// the arguments. Sorted.
var privileged = []string{"acct", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "delete_module", "fanotify_init", "finit_module", "fsconfig",
	"fsmount", "fsopen", "fspick", "init_module", "io_uring_setup", "iopl", "ioperm", "kexec_file_load", "kexec_load", "lookup_dcookie", "mount",
	"mount_setattr", "move_mount", "nfsservctl", "open_by_handle_at", "open_tree", "open_tree_attr", "perf_event_open", "pivot_root", "ptrace",
	"quotactl", "quotactl_fd", "reboot", "setdomainname", "setgroups", "setgroups32", "sethostname", "setsid", "settimeofday", "stime", "swapoff", "swapon", "syslog", "umount", "umount2",
	"userfaultfd", "vhangup", "vm86", "vm86old"}

func arguments(name string) [6]uintptr {
	for i := range special {
		if special[i].name == name {
			return special[i].args
		}
	}
	return allBad
}

func reasonNotToAsk(name string) string {
	for _, u := range unasked {
		if u[0] == name {
			return u[1]
		}
	}
	return ""
}

// limit asks again for one ability of a call that is known to be incomplete in some kernels; ""
// where the call has it. RHEL 7.2's memfd_create knows no seals.
func limit(name string) string {
	if name != "memfd_create" {
		return ""
	}
	fd, err := unix.MemfdCreate("binproxy", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		unix.Close(fd)
		return ""
	}
	if err == unix.EINVAL {
		return "it refuses MFD_ALLOW_SEALING"
	}
	return ""
}

// x32Bit marks an x32 call in an x86_64 call's number.
const x32Bit = 0x40000000

// call makes one call of an ABI.
func call(abi *kernel.ABI, name string, nr uint32) syscall.Errno {
	args := arguments(name)
	make := func() (uintptr, syscall.Errno) { return sys.Call(uintptr(nr), args) }
	switch abi.Name {
	case "x32":
		make = func() (uintptr, syscall.Errno) { return sys.Call(uintptr(nr)|x32Bit, args) }
	case "i386":
		var short [6]uint32
		for i, a := range args {
			short[i] = uint32(a)
		}
		make = func() (uintptr, syscall.Errno) { return sys.CallI386(nr, short) }
	}
	if name == "fork" {
		return sys.CallFork(make)
	}
	_, errno := make()
	return errno
}
