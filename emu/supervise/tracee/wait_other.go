//go:build !amd64

package tracee

// Wait knows no call: of one that was interrupted the tracer is not given the first argument, and
// arm64's kernel decides whether it starts anew before the tracer is asked
// (arch/arm64/kernel/signal.c, do_signal).
func (r *Registers) Wait(reader) (Wait, bool) { return Wait{}, false }
