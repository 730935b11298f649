//go:build amd64 || arm64

package sys

// ignored has bit N-1 set for each signal N that was ignored when the kernel started us. The Go
// runtime takes most signals over before any Go code runs and so forgets it, and what a program
// ignores its children must ignore too; entry (in assembly, made the program's entry by the linker
// flag -E binproxy/emu/sys.entry) notes it first.
var ignored uint64

// closed has bit N set for each descriptor N of 0, 1 and 2 that was closed when the kernel started
// us. The Go runtime opens /dev/null in their places, and then nobody can tell.
var closed uint64

// nofile is RLIMIT_NOFILE, soft and hard, when the kernel started us: the Go runtime raises the
// soft one.
var nofile [2]uint64

// memory is RLIMIT_AS, soft and hard, when the kernel started us; unlimited where it cannot be
// asked.
//
//lint:ignore U1000 entry, in assembly, uses it.
var memory = [2]uint64{1<<64 - 1, 1<<64 - 1}

// needed is how much address space the program takes to begin with, most of which the Go runtime
// reserves and never uses. With less the runtime ends before any Go code runs, with its own dump
// and the status 2; so entry says tooLittle instead, and ends with 125.
//
//lint:ignore U1000 entry, in assembly, uses it.
var needed uint64 = 724 << 20

// tooLittle is what entry says then.
//
//lint:ignore U1000 entry, in assembly, uses it.
var tooLittle = "binproxy: the limit of address space (ulimit -v) is below 724 MiB, which this program reserves but does not use: raise it, or `ulimit -v unlimited`\n"

// forked is what clone answered to entry: the PID of the child that it made, 0 in the child
// itself, or an errno, negative; notForked where it was not asked (see Forked).
var forked int64 = notForked

// action is entry's struct kernel_sigaction; its first word is the handler.
//
//lint:ignore U1000 entry, in assembly, uses it.
var action [64]byte

//lint:ignore U1000 The linker makes it the program's entry.
func entry()
