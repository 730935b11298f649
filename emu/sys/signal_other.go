//go:build !amd64 && !arm64

package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// CanTakeSignals reports whether TakeSignals works in this build.
const CanTakeSignals = false

// TakeSignals has no handler here.
func TakeSignals([]unix.Signal) (*os.File, error) { return nil, errors.ErrUnsupported }

// NextSignal has no signals here.
func NextSignal(*os.File) (TakenSignal, error) { return TakenSignal{}, errors.ErrUnsupported }
