// Package cpu asks the processor for its instructions, when a hash first needs to know: a
// hypervisor answers the question, which takes longer than all else that a start would do here.
package cpu

import "sync"

// Features are the instructions that the hashes have code for.
type Features struct {
	AVX2  bool // with BMI1 and BMI2
	SHANI bool // with AVX, SSE 4.1 and SSSE 3
}

var (
	asked    sync.Once
	features Features
)

// X86 returns what processor and kernel support, as internal/cpu of Go finds it out.
func X86() *Features {
	asked.Do(ask)
	return &features
}

func ask() {
	const (
		ssse3, sse41, osxsave, avx = 1 << 9, 1 << 19, 1 << 27, 1 << 28 // leaf 1, ECX
		bmi1, avx2, bmi2, sha      = 1 << 3, 1 << 5, 1 << 8, 1 << 29   // leaf 7, EBX
		xmm, ymm                   = 1 << 1, 1 << 2                    // XCR0
	)
	if most, _, _, _ := cpuid(0, 0); most < 7 {
		return
	}
	_, _, one, _ := cpuid(1, 0)
	if !has(one, osxsave|avx) {
		return
	}
	if saved, _ := xgetbv(); !has(saved, xmm|ymm) {
		return
	}
	_, seven, _, _ := cpuid(7, 0)
	features.AVX2 = has(seven, avx2|bmi1|bmi2)
	features.SHANI = has(seven, sha) && has(one, sse41|ssse3)
}

func has(bits, all uint32) bool { return bits&all == all }
