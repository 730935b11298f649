package tracee

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// The ABIs of this host.
var (
	ABI64 = &ABI{Arch: unix.AUDIT_ARCH_AARCH64, Execve: 221, Execveat: 281, Prctl: 167, Close: 57, Seccomp: 277}
	ABI32 = &ABI{Arch: unix.AUDIT_ARCH_ARM, compat: true, Execve: 11, Execveat: 387, Prctl: 172, Close: 6, Seccomp: 383}
)

// Execs are the host's calls that lead to execve. The filter's data is 1 plus the index.
var Execs = []Call{{ABI64, 221}, {ABI64, 281}, {ABI32, 11}, {ABI32, 387}}

// clones are the calls that start a process or a thread and have the flags as first argument.
var clones = []Call{{ABI64, 220}, {ABI32, 120}}

// CallInstruction is `svc #0`.
var CallInstruction = []byte{0x01, 0x00, 0x00, 0xd4}

// These bits of the saved processor state mean a 32-bit program, and one in Thumb state, whose
// call instruction has two bytes.
const (
	pstate32    = 1 << 4
	pstateThumb = 1 << 5
)

// Registers are a stopped tracee's registers. The kernel shows those of a 32-bit tracee in their
// own layout, the 18 words of ARM's struct user_regs. They do not have the number of a call that
// is about to start (NT_ARM_SYSTEM_CALL).
type Registers struct {
	x      [31]uint64
	stack  uint64
	pc     uint64
	pstate uint64
	wide   bool // 64-bit
}

func (r *Registers) get(tid int) error {
	var words [34]uint64
	n, err := sys.RegisterSet(tid, sys.RegistersGeneral, words[:])
	if err != nil {
		return err
	}
	if r.wide = n == 8*len(words); r.wide {
		copy(r.x[:], words[:31])
		r.stack, r.pc, r.pstate = words[31], words[32], words[33]
		return nil
	}
	var w [18]uint32
	for i := range w {
		w[i] = uint32(words[i/2] >> (32 * (i % 2)))
	}
	for i := range 13 {
		r.x[i] = uint64(w[i])
	}
	r.x[14] = uint64(w[14])
	r.stack, r.pc, r.pstate = uint64(w[13]), uint64(w[15]), uint64(w[16])
	return nil
}

func (r *Registers) set(tid int) error {
	var words [34]uint64
	if r.wide {
		copy(words[:31], r.x[:])
		words[31], words[32], words[33] = r.stack, r.pc, r.pstate
		return sys.SetRegisterSet(tid, sys.RegistersGeneral, words[:], 8*len(words))
	}
	w := [18]uint32{13: uint32(r.stack), 14: uint32(r.x[14]), 15: uint32(r.pc), 16: uint32(r.pstate), 17: uint32(r.x[0])}
	for i := range 13 {
		w[i] = uint32(r.x[i])
	}
	for i, v := range w {
		words[i/2] |= uint64(v) << (32 * (i % 2))
	}
	return sys.SetRegisterSet(tid, sys.RegistersGeneral, words[:], 4*len(w))
}

// Arg is an argument of a call of the ABI.
func (r *Registers) Arg(_ *ABI, n int) *uint64 { return &r.x[n] }

// SP is the stack pointer.
func (r *Registers) SP() *uint64 { return &r.stack }

// Result is the result of the call that ends in this syscall-exit-stop.
func (r *Registers) Result() int64 {
	if !r.wide {
		return int64(int32(r.x[0]))
	}
	return int64(r.x[0])
}

// SetResult changes the result.
func (r *Registers) SetResult(v int64) { r.x[0] = uint64(v) }

// replace changes the call that is about to start into another.
func (r *Registers) replace(tid int, nr uint64) error {
	return sys.SetRegisterSet(tid, sys.RegistersCall, []uint64{nr & 0xffffffff}, 4)
}

// skip makes no call of it, and sets its result.
func (r *Registers) skip(tid int, result int64) error {
	r.x[0] = uint64(result)
	return r.replace(tid, ^uint64(0))
}

// Instruction is the address of the instruction of the call that is in progress or has ended.
func (r *Registers) Instruction() uint64 {
	length := uint64(len(CallInstruction))
	if r.pstate&(pstate32|pstateThumb) == pstate32|pstateThumb {
		length = 2
	}
	return r.pc - length
}

// callAt makes the tracee go on with the call instruction at ip.
func (r *Registers) callAt(ip, nr uint64) {
	r.pc = ip
	if r.wide {
		r.x[8] = nr
	} else {
		r.x[7] = nr
	}
}

// Finished keeps the kernel from restarting the call. The kernel looks at NT_ARM_SYSTEM_CALL,
// which is already -1 at a call's end.
func (r *Registers) Finished() {}
