// Die ends as its first argument says: "segv" by a segmentation fault that the Go runtime does not
// see; "trap" with 255, while a pipe has the name that the kernel gives a removed program; else
// with that status.
package main

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

func main() {
	if os.Args[1] == "trap" {
		if os.Remove(os.Args[0]) != nil || syscall.Mkfifo(os.Args[0]+" (deleted)", 0o600) != nil {
			os.Exit(1)
		}
		os.Exit(255)
	}
	if os.Args[1] != "segv" {
		status, _ := strconv.Atoi(os.Args[1])
		os.Exit(status)
	}
	var action [4]uint64 // SIG_DFL, no flags
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGSEGV), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	*(*int)(unsafe.Pointer(uintptr(len(os.Args[0]) / 1000))) = 1
}
