package sys

import "syscall"

// CallI386 makes a call of the i386 ABI without arguments. Where the kernel has no IA32 emulation, the process gets a SIGSEGV.
func CallI386(nr uint32) (uint32, syscall.Errno) {
	r := int32(int80(nr))
	if r < 0 && r > -4096 {
		return 0, syscall.Errno(-r)
	}
	return uint32(r), 0
}

func int80(nr uint32) uint32
