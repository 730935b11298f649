//go:build !amd64

package tracee

// Wait knows no call: the tracer does not get the first argument of an interrupted call, and
// arm64's kernel decides whether to restart it before it asks the tracer
// (arch/arm64/kernel/signal.c, do_signal).
func (r *Registers) Wait(reader) (Wait, bool) { return Wait{}, false }
