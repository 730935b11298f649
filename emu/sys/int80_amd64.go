package sys

import "syscall"

// CallI386 makes a call of the i386 ABI. Where the kernel has no IA32 emulation, the process gets
// a SIGSEGV.
func CallI386(nr uint32, a [6]uint32) (uintptr, syscall.Errno) {
	r := int32(int80(nr, a[0], a[1], a[2], a[3], a[4], a[5]))
	if r < 0 && r > -4096 {
		return 0, syscall.Errno(-r)
	}
	return uintptr(uint32(r)), 0
}

func int80(nr, a0, a1, a2, a3, a4, a5 uint32) uint32
