package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A supervisor answers this question: an execveat on no file with flags that no kernel has.
// Everybody else gets EINVAL. It needs neither /proc nor the environment.
const (
	QuestionFlags  = 0x62780000
	QuestionAnswer = 0x62
)

// Supervised reports whether a supervisor of ours routes the execs of this thread.
func Supervised() bool {
	var empty byte
	r, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, ^uintptr(0), uintptr(unsafe.Pointer(&empty)), 0, 0, QuestionFlags, 0)
	return errno == 0 && r == QuestionAnswer
}
