//go:build !amd64

package tracee

// Wait knows no call: the tracer does not get the first argument of an interrupted call, and
// arm64's kernel decides whether to restart it before it asks the tracer
// (arch/arm64/kernel/signal.c, do_signal).
func (r *Registers) Wait(reader) (Wait, bool) { return Wait{}, false }

// Cut is always false, for the same reason.
func (r *Registers) Cut() bool { return false }

// FD is not used.
func (r *Registers) FD() int { return -1 }

// Rest is not used.
func (r *Registers) Rest() {}
