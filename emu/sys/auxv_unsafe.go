package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const atExecfn = 31 // AT_EXECFN

// Execfn is the path that the kernel was asked to execute, as the caller of execve wrote it
// (AT_EXECFN); for a `#!` script, the script's. It is "" if the kernel did not give it. It needs
// no /proc.
func Execfn() string {
	auxv, err := unix.Auxv()
	if err != nil {
		return ""
	}
	for _, entry := range auxv {
		if entry[0] == atExecfn && entry[1] != 0 {
			// The string is on the stack that the kernel set up: not Go memory, and never freed.
			return unix.BytePtrToString(*(**byte)(unsafe.Pointer(&entry[1])))
		}
	}
	return ""
}
