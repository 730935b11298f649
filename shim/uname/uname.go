// Package uname runs in place of uname: it is GNU coreutils' uname, byte for byte, with the
// configured identity.
//
// The reference is coreutils 9.1 (Debian 12's) in the C locale, including its getopt_long and its
// closing of stdout. The output comes from the environment, the bundle's file or the running
// kernel (emu/identity); the machine is the guest's.
package uname

import (
	"os"
	"strings"
	"syscall"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/sys"
	"binproxy/shim/farm"
	"binproxy/shim/proxy"
)

// failure is the only status of GNU's uname for any failure.
const failure = 1

// unknown is what GNU's uname prints for the processor and the hardware platform on Linux;
// operatingSystem is compiled in.
const (
	unknown         = "unknown"
	operatingSystem = "GNU/Linux"
)

// answer is the output of a start of uname, and its status.
type answer struct {
	stdout, stderr string
	status         int
}

// Run prints what the arguments ask for. The error has uname's status; it has a message only if
// binproxy itself failed.
func Run(c farm.Call, argv []string) error {
	_, posixly := os.LookupEnv("POSIXLY_CORRECT")
	a, err := respond(argv, posixly, func() (identity.Identity, error) { return identityOf(c) })
	if err != nil {
		return exit.Errorf(exit.Failed, "uname: %w", err)
	}
	if a.stdout != "" {
		if err := write(a.stdout); err != nil {
			a = answer{"", called(argv) + ": write error: " + strerror(err) + "\n", failure}
		}
	}
	// If stderr cannot be written to, the message is lost, as GNU's is; the status remains.
	_, _ = os.Stderr.WriteString(a.stderr)
	return exit.Silent(a.status)
}

// respond is uname as a function. It calls system only if it prints the answer.
func respond(argv []string, posixly bool, system func() (identity.Identity, error)) (answer, error) {
	name := called(argv)
	fields, final := parse(name, argv[min(1, len(argv)):], posixly)
	if final != nil {
		return *final, nil
	}
	i, err := system()
	if err != nil {
		return answer{}, err
	}
	var words []string
	for n, word := range [...]string{i.Sysname, i.Nodename, i.Release, i.Version, i.Machine, unknown, unknown, operatingSystem} {
		omitted := fields == all && (1<<n)&(processor|platform) != 0
		if fields&(1<<n) != 0 && !omitted {
			words = append(words, word)
		}
	}
	return answer{stdout: strings.Join(words, " ") + "\n"}, nil
}

func called(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	return argv[0]
}

// identityOf is the identity to print.
func identityOf(c farm.Call) (identity.Identity, error) {
	kernel, err := identity.Kernel()
	if err != nil || c.Config.Truthful(os.Getenv) {
		return kernel, err
	}
	i := identity.Configured(c.Config.Identity, os.Getenv)
	if i.Machine == "" {
		i.Machine = machine(c)
	}
	return i.Over(kernel), i.Check()
}

// machine is what uname(2) answers the guest; "" for the kernel's own word. With one emulator it
// is that emulator's arch, else that of the image's own programs.
func machine(c farm.Call) string {
	if len(c.Config.Emulators) == 1 {
		return emulated(c.Config.Emulators[0])
	}
	for _, path := range [...]string{c.Guest, "/bin/uname", "/usr/bin/uname", "/bin/sh", "/bin/bash", "/bin/busybox"} {
		if path == "" {
			continue
		}
		file, errno := c.Root.Open(path)
		if errno != 0 {
			continue
		}
		info, err := elfinfo.Header(file.Head)
		if err != nil {
			continue
		}
		if abi := info.ABI(); abi != nil && proxy.Resolver(c).Guest(abi) {
			return abi.Machine
		}
		return ""
	}
	return ""
}

func emulated(e emulator.Emulator) string {
	for _, abi := range arch.All() {
		if abi.QEMU == e.QEMU {
			return abi.Machine
		}
	}
	return ""
}

func write(text string) error {
	if sys.WasClosed(1) {
		return syscall.EBADF
	}
	sys.KeepIgnored() // of SIGPIPE: writing then fails instead of ending us
	_, err := os.Stdout.WriteString(text)
	return err
}

// strerror is the C library's text for the errno in err: Go's, with a capital letter.
func strerror(err error) string {
	text := sys.Errno(err).Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
