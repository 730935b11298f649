//go:build amd64 || arm64

package sys

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// CanTakeSignals reports whether TakeSignals works in this build.
const CanTakeSignals = true

// relayFD is the descriptor that relay (in assembly) writes to: a signal's number, its si_code and
// its si_pid, 4 bytes each.
//
//lint:ignore U1000 relay uses it.
var relayFD uint64

// takeSignal makes relay the handler of a signal, and gives rt_sigaction's result.
func takeSignal(signal uint64) int64

// TakeSignals takes the signals away from the Go runtime, for the rest of the process, and gives a
// file from which NextSignal reads them. Unlike os/signal it shows who sent one.
func TakeSignals(signals []unix.Signal) (*os.File, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(pipe[1], true); err != nil {
		return nil, err
	}
	relayFD = uint64(pipe[1])
	for _, s := range signals {
		if r := takeSignal(uint64(s)); r != 0 {
			return nil, os.NewSyscallError("rt_sigaction", unix.Errno(-r))
		}
	}
	return os.NewFile(uintptr(pipe[0]), "signals"), nil
}

// NextSignal waits for the next signal.
func NextSignal(f *os.File) (TakenSignal, error) {
	var b [12]byte
	if _, err := f.Read(b[:]); err != nil {
		return TakenSignal{}, err
	}
	word := func(n int) int { return int(int32(binary.NativeEndian.Uint32(b[4*n:]))) }
	return TakenSignal{unix.Signal(word(0)), word(1), word(2)}, nil
}
