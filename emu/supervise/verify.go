package supervise

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/stack"
	"binproxy/emu/supervise/tracee"
)

// A tracee gets a descriptor and executes it, but a task that shares its table of descriptors may
// have put another program there meanwhile. And the host's binfmt_misc may have executed our
// emulator with the rights of a set-user-id guest. So the file that the kernel has executed is
// compared with the one handed out before anything is written into the new process.

var (
	errOther  = errors.New("it has executed another file than it was given")
	errGained = errors.New("it has gained rights by that")
)

// executes says why the new program is not the one that was handed out.
func (e *exec) executes() error {
	file, err := e.s.sight.Program(e.who, e.t.TID())
	if err == nil && file != e.via.file {
		err = errOther
	}
	return err
}

// unchanged says why the new program must not be written to: it has more rights than its caller.
func (e *exec) unchanged(new stack.Stack) error {
	if new.Secure() && e.s.sight.Gained(e.who, e.t.TID()) {
		return errGained
	}
	return nil
}

// end ends a process that must not go on, with one line.
func (e *exec) end(why error) error {
	if tracee.Gone(why) {
		return why
	}
	e.s.say("%s: process %d is ended: %v", e.name, e.t.TID(), why)
	e.Drop()
	e.t.Kill()
	return unix.ESRCH
}
