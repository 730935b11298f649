// Package seccomp makes seccomp filters: a pure function from rules to classic BPF.
//
// The kernel runs a filter at every system call of a process, so the way to "allow" must be short.
// A program has one block for each ABI, chosen by AUDIT_ARCH. Within a block, a binary search over
// the numbers of the rules leads to the rules of one call, which look at its arguments if they
// have conditions. A call without a rule is allowed. (Since Linux 5.11 the kernel knows which
// numbers are always allowed, and skips the filter for them.)
package seccomp

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// An Action is what the kernel does with a call: one of the SECCOMP_RET_ values, with 16 bits of
// data.
type Action uint32

// Allow lets the call through.
const Allow Action = unix.SECCOMP_RET_ALLOW

// Notify hands the call to the filter's listener.
const Notify Action = unix.SECCOMP_RET_USER_NOTIF

// Trace stops the caller for its tracer, which finds data in PTRACE_GETEVENTMSG.
func Trace(data uint16) Action { return unix.SECCOMP_RET_TRACE | Action(data) }

// Fail makes the call fail with the errno.
func Fail(errno uint16) Action { return unix.SECCOMP_RET_ERRNO | Action(errno) }

// A Rule gives one system call of one ABI an action. Where several rules name the same call, the
// first whose condition holds counts.
type Rule struct {
	Arch   uint32 // AUDIT_ARCH_*
	Number uint32 // with bit 30 set for x32
	When   *Equal // nil: always
	Action Action
}

// Equal is a condition: the argument (0 to 5) has the value, in the bits of the mask if there is
// one.
type Equal struct {
	Arg   int
	Value uint64
	Mask  uint64 // 0: all bits
}

// Offsets in struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6].
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

const (
	load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	above  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	always = unix.BPF_JMP | unix.BPF_JA
	and    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	ret    = unix.BPF_RET | unix.BPF_K
)

// maxLen is the kernel's limit for one filter (BPF_MAXINSNS).
const maxLen = 4096

// Assemble gives the filter for the rules. It tests the ABI of the first rule first, so name the
// most frequent one first. It expects the halves of arguments in little-endian order, which all
// our hosts have.
func Assemble(rules []Rule) ([]unix.SockFilter, error) {
	p := []unix.SockFilter{{Code: load, K: offArch}}
	for _, arch := range archs(rules) {
		var own []*Rule
		for i := range rules {
			r := &rules[i]
			if r.Arch == arch {
				if r.When != nil && (r.When.Arg < 0 || r.When.Arg > 5) {
					return nil, fmt.Errorf("seccomp: a call has no argument %d", r.When.Arg)
				}
				own = append(own, r)
			}
		}
		slices.SortStableFunc(own, func(a, b *Rule) int { return cmp.Compare(a.Number, b.Number) })
		block := append([]unix.SockFilter{{Code: load, K: offNumber}}, search(own)...)
		p = append(p,
			unix.SockFilter{Code: equal, K: arch, Jt: 1},
			unix.SockFilter{Code: always, K: uint32(len(block))})
		p = append(p, block...)
	}
	p = append(p, unix.SockFilter{Code: ret, K: uint32(Allow)})
	if len(p) > maxLen {
		return nil, fmt.Errorf("seccomp: the filter has %d instructions; the kernel takes %d", len(p), maxLen)
	}
	return p, nil
}

func archs(rules []Rule) []uint32 {
	var list []uint32
	for _, r := range rules {
		if !slices.Contains(list, r.Arch) {
			list = append(list, r.Arch)
		}
	}
	return list
}

// search is the code for sorted rules of one ABI, with the number loaded.
func search(rules []*Rule) []unix.SockFilter {
	middle := rules[len(rules)/2].Number
	split, _ := slices.BinarySearchFunc(rules, middle, func(r *Rule, n uint32) int { return cmp.Compare(r.Number, n) })
	if split == 0 {
		return leaf(rules, middle)
	}
	low, high := search(rules[:split]), search(rules[split:])
	code := []unix.SockFilter{
		{Code: above, K: middle, Jf: 1},
		{Code: always, K: uint32(len(low))},
	}
	return slices.Concat(code, low, high)
}

// leaf is the code for the rules of one number, at the start of rules; rules of higher numbers may
// follow.
func leaf(rules []*Rule, number uint32) []unix.SockFilter {
	n := 0
	for n < len(rules) && rules[n].Number == number {
		n++
	}
	var body []unix.SockFilter
	for _, r := range rules[:n] {
		body = append(body, conditional(r)...)
	}
	body = append(body, unix.SockFilter{Code: ret, K: uint32(Allow)})
	rest := []unix.SockFilter{{Code: ret, K: uint32(Allow)}}
	if n < len(rules) {
		rest = search(rules[n:])
	}
	code := []unix.SockFilter{
		{Code: equal, K: number, Jt: 1},
		{Code: always, K: uint32(len(body))},
	}
	return slices.Concat(code, body, rest)
}

func conditional(r *Rule) []unix.SockFilter {
	action := unix.SockFilter{Code: ret, K: uint32(r.Action)}
	if r.When == nil {
		return []unix.SockFilter{action}
	}
	low, high := half(r.When, 0), half(r.When, 1)
	code := slices.Concat(low, high)
	for i := range code {
		if code[i].Code == equal {
			code[i].Jf = uint8(len(code) - i) // past the action
		}
	}
	return append(code, action)
}

// half compares the lower (0) or the upper (1) 32 bits of an argument. The caller sets the jump
// for a difference.
func half(c *Equal, n int) []unix.SockFilter {
	shift := 32 * n
	value, mask := uint32(c.Value>>shift), uint32(c.Mask>>shift)
	if c.Mask == 0 {
		mask = ^uint32(0)
	}
	code := []unix.SockFilter{{Code: load, K: uint32(offArgs + 8*c.Arg + 4*n)}}
	switch mask {
	case 0:
		return nil
	case ^uint32(0):
	default:
		code = append(code, unix.SockFilter{Code: and, K: mask})
	}
	return append(code, unix.SockFilter{Code: equal, K: value})
}
