//go:build !amd64

package supervise

// wait knows no call: of one that was interrupted the tracer is not given the first argument, and arm64's kernel decides whether it starts anew before
// the tracer is asked (arch/arm64/kernel/signal.c, do_signal).
func (r *registers) wait(memory) (wait, bool) { return wait{}, false }
