package uml

import (
	"errors"
	"fmt"

	"binproxy/emu/sys"
)

// A kernel hands the registers of a process that it traces to the host as a whole:
// PTRACE_SETREGSET of NT_X86_XSTATE refuses (EFAULT) a buffer that is smaller than the CPU's XSAVE
// area (arch/x86/kernel/fpu/regset.c, xstateregs_set). Up to 6.12 that buffer has a fixed size,
// whatever the host: HOST_FP_SIZE of arch/x86/um/user-offsets.c, "DEFINE_LONGS(HOST_FP_SIZE,
// 2696)", which is enough for AVX-512 and protection keys. Since 6.13 the kernel asks the host for
// the size at boot: host_fp_size of arch/x86/um/os-Linux/registers.c (commit 3f17fed21491, "um:
// switch to regset API and depend on XSTATE"). With AMX's tiles the area is 11,008 bytes, and the
// older kernels panic at their first process.
const (
	fixedRegisters = 2696
	sizedByHost    = "6.13"
)

// hostRegisters returns the size of the XSAVE area here; a variable for tests.
var hostRegisters = sys.XSaveSize

// runsOn says why a kernel of this release cannot run on a CPU whose registers take so many bytes;
// nil if it can.
func runsOn(release string, registers int) error {
	if registers <= fixedRegisters || compareReleases(release, sizedByHost) >= 0 {
		return nil
	}
	return fmt.Errorf("cannot run on this CPU, whose registers take %d bytes (XSAVE; AMX has such): a User Mode Linux before %s has %d for them",
		registers, sizedByHost, fixedRegisters)
}

// another says how to get a kernel that runs here.
const another = "get a newer one with binproxy uml kernel build, or binproxy uml kernel fetch"

// RunsHere says why the kernel cannot run on this machine, as far as that is known without a boot:
// by this rule, or by a trial's result. It is nil if nothing is known against the kernel.
func (k *Kernel) RunsHere() error {
	err := runsOn(k.Release, hostRegisters())
	if _, why := k.remembered(); err == nil && why != "" {
		err = fmt.Errorf("%w (binproxy uml kernel list tries it again)", didNotBoot(why))
	}
	return k.refuse(err)
}

// refuse names the kernel in an error, and says how to get another.
func (k *Kernel) refuse(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("kernel %s (%s): %w; %s", k.Path, k.Release, err, another)
}

// hasSeccomp reports whether the kernel can run its processes by seccomp instead of ptrace.
func (k *Kernel) hasSeccomp() bool { return compareReleases(k.Release, oldest) >= 0 }

// seccomps says why the kernel cannot run its processes by seccomp.
func (k *Kernel) seccomps() error {
	if k.hasSeccomp() {
		return nil
	}
	return k.refuse(errors.New("has no seccomp mode, which Linux " + oldest + " brought"))
}
