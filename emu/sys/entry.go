//go:build amd64 || arm64

package sys

// ignored has bit N-1 set for each signal N that was ignored when the kernel started us. The Go
// runtime takes over most signals before any Go code runs, and so forgets it. But a program's
// children must ignore what the program ignores, so entry records it first (it is assembly, and
// the linker flag -E binproxy/emu/sys.entry makes it the program's entry).
var ignored uint64

// closed has bit N set for each descriptor N of 0, 1 and 2 that was closed when the kernel started
// us. The Go runtime opens /dev/null in their places, which hides it.
var closed uint64

// nofile is RLIMIT_NOFILE, soft and hard, when the kernel started us: the Go runtime raises the
// soft one.
var nofile [2]uint64

// memory is RLIMIT_AS, soft and hard, when the kernel started us; unlimited if the kernel does not
// say.
//
//lint:ignore U1000 entry, in assembly, uses it.
var memory = [2]uint64{1<<64 - 1, 1<<64 - 1}

// needed is how much address space the program takes at its start; the Go runtime reserves most of
// it, at times 64 MiB more than at others, and never uses it. With less, the runtime would end
// before any Go code runs, with its own dump and the status 2. So entry prints tooLittle instead,
// and ends with 125.
//
//lint:ignore U1000 entry, in assembly, uses it.
var needed uint64 = 788 << 20

// tooLittle is the line that entry prints then.
//
//lint:ignore U1000 entry, in assembly, uses it.
var tooLittle = "binproxy: the limit of address space (ulimit -v) is below 788 MiB, which this program reserves but does not use: raise it, or `ulimit -v unlimited`\n"

// forked is clone's answer to entry: the PID of the new child, 0 in the child itself, or a
// negative errno; notForked if entry did not call clone (see Forked).
var forked int64 = notForked

// action is entry's struct kernel_sigaction; its first word is the handler.
//
//lint:ignore U1000 entry, in assembly, uses it.
var action [64]byte

//lint:ignore U1000 The linker makes it the program's entry.
func entry()
