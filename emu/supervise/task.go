package supervise

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/supervise/tracee"
)

// thread is what the supervisor does to a stopped tracee (tracee.Thread).
type thread interface {
	TID() int
	Become(tid int)
	Message() (uint, error)

	Read(addr uint64, b []byte) error
	Write(addr uint64, b []byte) error
	ReadString(addr uint64, limit int) (string, error)
	Registers() (tracee.Registers, error)
	SetRegisters(tracee.Registers) error

	Begin(r tracee.Registers, nr uint64) error
	Skip(r tracee.Registers, result int64) error
	Instead(abi *tracee.ABI, r tracee.Registers, nr, a, b uint64) (int64, error)
	CallAt(abi *tracee.ABI, r tracee.Registers, ip, nr, a, b uint64) (int64, error)
	Give(call *tracee.Call, r tracee.Registers, from tracee.Where, files []tracee.File) error
	WhileDumpable(abi *tracee.ABI, r tracee.Registers, was int64, do func() error) error
	Pass(abi *tracee.ABI, r *tracee.Registers)
	Finish() error

	Hold() error
	Release()
	Quietly(do func() error) error

	Continue(signal unix.Signal) error
	ToSyscall(signal unix.Signal) error
	AddFilter(abi *tracee.ABI, r tracee.Registers, from tracee.Where, f tracee.Further) error
	Borrowed(at uint64, text []byte, do func() error) error
	Listen() error
	Interrupt()
	Kill()
}

// task is a tracee and its state.
type task struct {
	thread
	guest *guest          // what it runs; nil for a native program
	call  tracee.Progress // the call in progress, if that takes more than one stop; else nil

	announced bool // its parent's stop has reported it
	lender    int  // the vfork's parent whose memory it shares until it execs; 0 for none
	listens   bool // it is in a group-stop
	nudged    bool // we interrupted it
	inherits  bool // it runs its parent's program, which is not known yet

	side   *arch.ABI // of the guest that has started a static native program; nil for none
	traces string    // the path of its program, if that has started a child to trace it

	fatal fatal  // the signal that is to end it, with its process
	path  string // for an observer: the path of its exec
	group int    // for an observer: its group's leader; 0 if it leads its group
}

// drop gives up the call in progress and undoes what that has done.
func (t *task) drop() {
	if t.call != nil {
		t.call.Drop()
		t.call = nil
		t.Release()
	}
}

// runs records the program that it runs from now on.
func (t *task) runs(g *guest) {
	t.inherits, t.lender = false, 0
	t.guest.drop()
	t.guest = g
}

// resume lets it go on, up to the next stop that its call needs.
func (t *task) resume(signal unix.Signal) error {
	if t.call != nil && t.call.ToEnd() {
		return t.ToSyscall(signal)
	}
	return t.Continue(signal)
}
