package supervise

import (
	"golang.org/x/sys/unix"
)

// x32 is bit 30 of the numbers of x32's calls, which else come with x86_64's AUDIT_ARCH.
const x32 = 1 << 30

// execCalls are the ways into execve on this host. The filter's data is 1 plus the index.
var execCalls = []execCall{
	{arch: unix.AUDIT_ARCH_X86_64, nr: 59, numbers: numbers64},
	{arch: unix.AUDIT_ARCH_X86_64, nr: 322, at: true, numbers: numbers64},
	{arch: unix.AUDIT_ARCH_X86_64, nr: 520 | x32, numbers: numbersX32},
	{arch: unix.AUDIT_ARCH_X86_64, nr: 545 | x32, at: true, numbers: numbersX32},
	{arch: unix.AUDIT_ARCH_I386, nr: 11, compat: true, numbers: numbers386},
	{arch: unix.AUDIT_ARCH_I386, nr: 358, at: true, compat: true, numbers: numbers386},
}

var (
	numbers64  = numbers{execve: 59, execveat: 322, prctl: 157, close: 3}
	numbersX32 = numbers{execve: 520 | x32, execveat: 545 | x32, prctl: 157 | x32, close: 3 | x32}
	numbers386 = numbers{execve: 11, execveat: 358, prctl: 172, close: 6}
)

// callInstruction is `syscall`. The other ways into the kernel (`int $0x80`, and where sysenter returns to) are as long.
var callInstruction = []byte{0x0f, 0x05}

// registers are a stopped tracee's.
type registers struct{ unix.PtraceRegsAmd64 }

// PTRACE_GETREGS gives the 64-bit registers of 32-bit programs, too.
func (r *registers) get(tid int) error { return unix.PtraceGetRegsAmd64(tid, &r.PtraceRegsAmd64) }
func (r *registers) set(tid int) error { return unix.PtraceSetRegsAmd64(tid, &r.PtraceRegsAmd64) }

func (r *registers) arg(c *execCall, n int) *uint64 {
	if c.compat {
		return [...]*uint64{&r.Rbx, &r.Rcx, &r.Rdx, &r.Rsi, &r.Rdi, &r.Rbp}[n]
	}
	return [...]*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}[n]
}

func (r *registers) sp() *uint64 { return &r.Rsp }

// result is what the call that ends in this syscall-exit-stop gives.
func (r *registers) result() int64 { return int64(r.Rax) }

func (r *registers) setResult(v int64) { r.Rax = uint64(v) }

// replace makes another call of the one that is about to start.
func (r *registers) replace(_ int, nr uint64) error {
	r.Orig_rax = nr
	return nil
}

// skip makes no call of it, but the result.
func (r *registers) skip(_ int, result int64) error {
	r.Orig_rax, r.Rax = ^uint64(0), uint64(result)
	return nil
}

// again takes the registers of a call back to its instruction, to make the call nr there.
func (r *registers) again(nr uint64) {
	r.callAt(r.Rip-uint64(len(callInstruction)), nr)
}

// callAt makes the tracee go on with the call instruction at ip.
func (r *registers) callAt(ip, nr uint64) {
	r.Rip, r.Rax, r.Orig_rax = ip, nr, ^uint64(0)
}

// finished keeps the kernel from restarting the call.
func (r *registers) finished() { r.Orig_rax = ^uint64(0) }

func (r *registers) ip() uint64 { return r.Rip }
