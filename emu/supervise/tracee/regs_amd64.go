package tracee

import (
	"golang.org/x/sys/unix"
)

// X32 is bit 30 of the numbers of x32's calls, which else come with x86_64's AUDIT_ARCH.
const X32 = 1 << 30

// The ABIs of this host.
var (
	ABI64  = &ABI{Arch: unix.AUDIT_ARCH_X86_64, Execve: 59, Execveat: 322, Prctl: 157, Close: 3, Seccomp: 317}
	ABIX32 = &ABI{Arch: unix.AUDIT_ARCH_X86_64, Execve: 520 | X32, Execveat: 545 | X32, Prctl: 157 | X32, Close: 3 | X32, Seccomp: 317 | X32}
	ABI32  = &ABI{Arch: unix.AUDIT_ARCH_I386, compat: true, Execve: 11, Execveat: 358, Prctl: 172, Close: 6, Seccomp: 354}
)

// Execs are the host's calls that lead to execve. The filter's data is 1 plus the index.
var Execs = []Call{{ABI64, 59}, {ABI64, 322}, {ABIX32, 520 | X32}, {ABIX32, 545 | X32}, {ABI32, 11}, {ABI32, 358}}

// clones are the calls that start a process or a thread and have the flags as first argument.
var clones = []Call{{ABI64, 56}, {ABIX32, 56 | X32}, {ABI32, 120}}

// CallInstruction is `syscall`. The other instructions that enter the kernel (`int $0x80`, and the
// one before the address to which sysenter returns) have the same length.
var CallInstruction = []byte{0x0f, 0x05}

// Registers are a stopped tracee's registers.
type Registers struct{ unix.PtraceRegsAmd64 }

// PTRACE_GETREGS gives the 64-bit registers of 32-bit programs, too.
func (r *Registers) get(tid int) error { return unix.PtraceGetRegsAmd64(tid, &r.PtraceRegsAmd64) }
func (r *Registers) set(tid int) error { return unix.PtraceSetRegsAmd64(tid, &r.PtraceRegsAmd64) }

// Arg is an argument of a call of the ABI.
func (r *Registers) Arg(c *ABI, n int) *uint64 {
	if c.compat {
		return [...]*uint64{&r.Rbx, &r.Rcx, &r.Rdx, &r.Rsi, &r.Rdi, &r.Rbp}[n]
	}
	return [...]*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}[n]
}

// SP is the stack pointer.
func (r *Registers) SP() *uint64 { return &r.Rsp }

// Result is the result of the call that ends in this syscall-exit-stop.
func (r *Registers) Result() int64 { return int64(r.Rax) }

// SetResult changes the result.
func (r *Registers) SetResult(v int64) { r.Rax = uint64(v) }

// replace changes the call that is about to start into another.
func (r *Registers) replace(_ int, nr uint64) error {
	r.Orig_rax = nr
	return nil
}

// skip makes no call of it, and sets its result.
func (r *Registers) skip(_ int, result int64) error {
	r.Orig_rax, r.Rax = ^uint64(0), uint64(result)
	return nil
}

// Instruction is the address of the instruction of the call that is in progress or has ended.
func (r *Registers) Instruction() uint64 { return r.Rip - uint64(len(CallInstruction)) }

// callAt makes the tracee go on with the call instruction at ip.
func (r *Registers) callAt(ip, nr uint64) {
	r.Rip, r.Rax, r.Orig_rax = ip, nr, ^uint64(0)
}

// Finished keeps the kernel from restarting the call.
func (r *Registers) Finished() { r.Orig_rax = ^uint64(0) }
