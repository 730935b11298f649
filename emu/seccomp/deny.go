package seccomp

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	denyNr   = 0
	denyArch = 4
)

// maxDenial is BPF_MAXINSNS, the longest program that the kernel takes.
const maxDenial = 4096

// maxJump is how many instructions a conditional jump can skip.
const maxJump = 255

// Range is the call numbers First to Last.
type Range struct{ First, Last uint32 }

// Denial is the calls of one AUDIT_ARCH to refuse. Ranges ascend and do not touch. An x32 call is
// an x86_64 call with bit 30 set.
type Denial struct {
	Audit  uint32
	Ranges []Range
}

// Deny compiles a filter that answers errno to the calls of the denials and allows every other
// call, those of other architectures too. It looks only at the number and the architecture, so the
// kernel (since 5.11) keeps the allowed calls in a bitmap and runs no filter for them. The program
// is a binary search of the ranges.
func Deny(errno uint16, denials ...Denial) ([]unix.SockFilter, error) {
	program := []unix.SockFilter{loadWord(denyArch)}
	for _, d := range denials {
		code, err := denyRanges(d.Ranges, answer(unix.SECCOMP_RET_ERRNO|uint32(errno)))
		if err != nil {
			return nil, fmt.Errorf("calls of AUDIT_ARCH %#x: %w", d.Audit, err)
		}
		section := append([]unix.SockFilter{loadWord(denyNr)}, code...)
		// The section may be too long for a conditional jump's 8 bits.
		program = append(program, branch(unix.BPF_JEQ, d.Audit, 1, 0), jumpOver(len(section)))
		program = append(program, section...)
	}
	program = append(program, answer(unix.SECCOMP_RET_ALLOW))
	if len(program) > maxDenial {
		return nil, fmt.Errorf("a seccomp filter of %d instructions; the kernel takes %d", len(program), maxDenial)
	}
	return program, nil
}

// denyRanges gives the search through the bounds at which the verdict changes.
func denyRanges(ranges []Range, deny unix.SockFilter) ([]unix.SockFilter, error) {
	var bounds []uint32 // the verdict changes at each; it begins with "allow"
	for i, r := range ranges {
		if r.First > r.Last || i > 0 && uint64(r.First) <= uint64(ranges[i-1].Last)+1 {
			return nil, fmt.Errorf("range %d-%d is empty or meets the one before it", r.First, r.Last)
		}
		bounds = append(bounds, r.First)
		if r.Last != ^uint32(0) {
			bounds = append(bounds, r.Last+1)
		}
	}
	verdicts := [2]unix.SockFilter{answer(unix.SECCOMP_RET_ALLOW), deny}
	return halve(bounds, 0, verdicts), nil
}

// halve compares with the middle bound, and continues in the lower half, which follows, or in the
// upper half behind it. parity is the verdict below the first bound.
func halve(bounds []uint32, parity int, verdicts [2]unix.SockFilter) []unix.SockFilter {
	if len(bounds) == 0 {
		return []unix.SockFilter{verdicts[parity]}
	}
	mid := len(bounds) / 2
	below := halve(bounds[:mid], parity, verdicts)
	above := halve(bounds[mid+1:], (parity+mid+1)%2, verdicts)
	if len(below) <= maxJump {
		return slices.Concat([]unix.SockFilter{branch(unix.BPF_JGE, bounds[mid], uint8(len(below)), 0)}, below, above)
	}
	return slices.Concat([]unix.SockFilter{branch(unix.BPF_JGE, bounds[mid], 0, 1), jumpOver(len(below))}, below, above)
}

func loadWord(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func branch(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

func jumpOver(n int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(n)}
}

func answer(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}
