package sys

// XSaveSize is the number of bytes that the XSAVE instruction stores of the registers that the
// running kernel has enabled: PTRACE_SETREGSET of NT_X86_XSTATE requires all of them. It is 0
// without XSAVE.
func XSaveSize() int {
	const (
		features = 1
		osXSave  = 1 << 27 // of ECX: the kernel has enabled XSAVE, and XCR0 says for what
		extended = 13
	)
	if highest, _, _, _ := cpuid(0, 0); highest < extended {
		return 0
	}
	if _, _, c, _ := cpuid(features, 0); c&osXSave == 0 {
		return 0
	}
	_, size, _, _ := cpuid(extended, 0)
	return int(size)
}

// cpuid is the instruction of that name.
func cpuid(leaf, subleaf uint32) (a, b, c, d uint32)
