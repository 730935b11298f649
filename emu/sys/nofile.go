package sys

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// RestoreNofile restores the limit of open files from the process's start. The Go runtime raises
// the soft limit at start-up, and restores it when it executes a program, but only by prlimit64.
// Under a filter that denies prlimit64 (Linux before 2.6.36 has none) the program would keep the
// raised one. A build without an entry of our own does not know the limit, and leaves it.
func RestoreNofile() error {
	if nofile[1] == 0 {
		return nil
	}
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: nofile[0], Max: nofile[1]}); err != nil {
		return fmt.Errorf("restore the limit of open files: %w", err)
	}
	return nil
}
