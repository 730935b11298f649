package supervise

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// execCalls are the ways into execve on this host. The filter's data is 1 plus the index.
var execCalls = []execCall{
	{arch: unix.AUDIT_ARCH_AARCH64, nr: 221, numbers: numbers64},
	{arch: unix.AUDIT_ARCH_AARCH64, nr: 281, at: true, numbers: numbers64},
	{arch: unix.AUDIT_ARCH_ARM, nr: 11, compat: true, numbers: numbers32},
	{arch: unix.AUDIT_ARCH_ARM, nr: 387, at: true, compat: true, numbers: numbers32},
}

var (
	numbers64 = numbers{execve: 221, execveat: 281, prctl: 167, close: 57}
	numbers32 = numbers{execve: 11, execveat: 387, prctl: 172, close: 6}
)

// callInstruction is `svc #0`.
var callInstruction = []byte{0x01, 0x00, 0x00, 0xd4}

// Bits of the saved processor state: a 32-bit program, and one in Thumb state, whose call instruction has two bytes.
const (
	pstate32    = 1 << 4
	pstateThumb = 1 << 5
)

// registers are a stopped tracee's. The kernel shows those of a 32-bit one in its own layout, as the 18 words of ARM's struct
// user_regs; the number of a call that is about to start is not among them (NT_ARM_SYSTEM_CALL).
type registers struct {
	x      [31]uint64
	stack  uint64
	pc     uint64
	pstate uint64
	wide   bool // 64-bit
}

func (r *registers) get(tid int) error {
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

func (r *registers) set(tid int) error {
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

func (r *registers) arg(_ *execCall, n int) *uint64 { return &r.x[n] }

func (r *registers) sp() *uint64 { return &r.stack }

// result is what the call that ends in this syscall-exit-stop gives.
func (r *registers) result() int64 {
	if !r.wide {
		return int64(int32(r.x[0]))
	}
	return int64(r.x[0])
}

func (r *registers) setResult(v int64) { r.x[0] = uint64(v) }

// replace makes another call of the one that is about to start.
func (r *registers) replace(tid int, nr uint64) error {
	return sys.SetRegisterSet(tid, sys.RegistersCall, []uint64{nr & 0xffffffff}, 4)
}

// skip makes no call of it, but the result.
func (r *registers) skip(tid int, result int64) error {
	r.x[0] = uint64(result)
	return r.replace(tid, ^uint64(0))
}

// again takes the registers of a call back to its instruction, to make the call nr there.
func (r *registers) again(nr uint64) {
	length := uint64(len(callInstruction))
	if r.pstate&(pstate32|pstateThumb) == pstate32|pstateThumb {
		length = 2
	}
	r.callAt(r.pc-length, nr)
}

// callAt makes the tracee go on with the call instruction at ip.
func (r *registers) callAt(ip, nr uint64) {
	r.pc = ip
	if r.wide {
		r.x[8] = nr
	} else {
		r.x[7] = nr
	}
}

// finished keeps the kernel from restarting the call: it asks NT_ARM_SYSTEM_CALL, which is -1 at a call's end already.
func (r *registers) finished() {}

func (r *registers) ip() uint64 { return r.pc }
