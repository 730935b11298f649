// Package ended tells a process's exit status from its death by a signal.
package ended

import (
	"os"
	"syscall"
)

// Status is the exit status, or -N for a process that died of signal N.
func Status(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return -int(status.Signal())
	}
	return state.ExitCode()
}
