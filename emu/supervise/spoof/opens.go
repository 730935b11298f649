package spoof

import (
	"cmp"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/seccomp"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// openForm is how a variant of open takes its arguments.
type openForm int

const (
	openPath openForm = iota + 1 // open(path, flags)
	openAt                       // openat(dirfd, path, flags)
	openHow                      // openat2(dirfd, path, how, size)
)

// notReading are the flags of opens that do not read a file's text: those that make a file, and
// O_PATH.
const notReading = unix.O_CREAT | unix.O_DIRECTORY | unix.O_PATH

// reading are the rules for opens that read. The flags of openat2 are not in registers.
func (f openForm) reading() []*seccomp.Equal {
	arg := int(f)
	if f == openHow {
		return []*seccomp.Equal{nil}
	}
	const mask = notReading | unix.O_ACCMODE
	return []*seccomp.Equal{{Arg: arg, Value: unix.O_RDONLY, Mask: mask}, {Arg: arg, Value: unix.O_RDWR, Mask: mask}}
}

// opening is an open with the arguments that the tracee gave.
type opening struct {
	path  string
	dirfd int
	flags uint64
}

func (o opening) cloexec() bool { return o.flags&unix.O_CLOEXEC != 0 }

// read reads the arguments of the call.
func read(t Thread, c *call, regs *tracee.Registers) (o opening, err error) {
	arg := func(n int) uint64 { return *regs.Arg(c.ABI, n) }
	o.dirfd = unix.AT_FDCWD
	at := 0
	if c.openOf != openPath {
		o.dirfd, at = int(int32(arg(0))), 1
	}
	o.flags = arg(at + 1)
	if c.openOf == openHow {
		var how [24]byte // struct open_how: flags, mode, resolve
		if err := t.Read(o.flags, how[:]); err != nil {
			return o, err
		}
		if o.flags = binary.LittleEndian.Uint64(how[:]); binary.LittleEndian.Uint64(how[16:]) != 0 {
			return o, nil // the open sets rules for the lookup: leave it to the kernel
		}
	}
	o.path, err = t.ReadString(arg(at), unix.PathMax)
	return o, err
}

// openBegin serves a thread about to open a file for reading. If it is one of the kernel's files
// that show the identity, the open gives another file. Any other open is the kernel's.
func (s *Spoof) openBegin(t Thread, c *call) (tracee.Progress, error) {
	regs, err := t.Registers()
	if err != nil {
		return nil, err
	}
	o, err := read(t, c, &regs)
	if err != nil && !tracee.Gone(err) {
		return s.openUndumpable(t, c, regs)
	}
	if err != nil || o.flags&notReading != 0 || o.path == "" || s.ordinary(t, o) {
		return nil, t.Continue(0)
	}
	return nil, s.answer(t, c, regs, s.asked(t, o), o.cloexec())
}

// answer lets an open go on, or makes it give the file.
func (s *Spoof) answer(t Thread, c *call, regs tracee.Registers, file *identityFile, cloexec bool) error {
	if file == nil {
		return t.Continue(0)
	}
	if file.fd < 0 {
		if err := file.make(); err != nil {
			s.debug(t.TID(), "%s: %v", file.Path, err)
			return t.Continue(0)
		}
	}
	s.debug(t.TID(), "open %s", file.Path)
	return s.give(t, c, regs, file.fd, cloexec)
}

// open is an open that is made again after the decision what it gives.
type open struct {
	spoof   *Spoof
	thread  Thread
	call    *call
	args    [3]uint64
	file    *identityFile // nil means the kernel's own answer
	cloexec bool
}

func (c *call) args(regs *tracee.Registers) (args [3]uint64) {
	for i := range args {
		args[i] = *regs.Arg(c.ABI, i)
	}
	return args
}

// openUndumpable serves the open of a process whose memory nobody may read, because it changed its
// ids. Other calls in place of the open make it dumpable for a moment; then it makes the open
// again.
func (s *Spoof) openUndumpable(t Thread, c *call, regs tracee.Registers) (tracee.Progress, error) {
	again := &open{spoof: s, thread: t, call: c, args: c.args(&regs)}
	err := t.Quietly(func() error {
		was, err := t.Instead(c.ABI, regs, c.Prctl, unix.PR_GET_DUMPABLE, 0)
		if err != nil {
			return err
		}
		err = t.WhileDumpable(c.ABI, regs, was, func() error {
			if o, err := read(t, c, &regs); err == nil && o.flags&notReading == 0 && o.path != "" {
				again.file, again.cloexec = s.asked(t, o), o.cloexec()
			}
			return nil
		})
		back := regs
		back.Again(uint64(c.Nr))
		return errors.Join(err, t.SetRegisters(back))
	})
	if err != nil {
		return nil, err
	}
	return again, t.Continue(0)
}

// ToEnd is always false.
func (o *open) ToEnd() bool { return false }

// Drop has nothing to release.
func (o *open) Drop() {}

// Stop serves the call's new start.
func (o *open) Stop(stop tracee.Stop) (tracee.Outcome, error) {
	if stop.Kind != tracee.Seccomp {
		return tracee.Foreign, nil
	}
	regs, err := o.thread.Registers()
	if err != nil {
		return tracee.Over, err
	}
	if o.args != o.call.args(&regs) {
		return tracee.Foreign, nil
	}
	return tracee.Over, o.spoof.answer(o.thread, o.call, regs, o.file, o.cloexec)
}

// ordinary reports whether one quick look shows that the file is none of the kernel's; asked
// decides the other cases. Nearly all files are ordinary.
func (s *Spoof) ordinary(t Thread, o opening) bool {
	fd, known := s.sight.Glance(t.TID(), o.path, o.dirfd)
	if fd < 0 {
		return known
	}
	defer unix.Close(fd)
	return !kernelFile(fd)
}

// give makes the thread's call return a descriptor of our file.
func (s *Spoof) give(t Thread, c *call, regs tracee.Registers, file int, cloexec bool) error {
	fd, err := sys.Reopen(s.sight.Self, file, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	given := [1]tracee.File{{FD: fd, CloseOnExec: cloexec}}
	back := regs
	err = t.Quietly(func() error {
		err := t.Give(cmp.Or(c.help, &c.Call), regs, tracee.Entering, given[:])
		back.SetResult(int64(given[0].Number))
		if refused, ok := err.(*tracee.GiveError); ok {
			back.SetResult(-int64(refused.Errno))
		} else if err != nil {
			return err
		}
		back.Finished()
		if err := t.AddFilter(c.ABI, regs, tracee.Leaving, tracee.Further{Kind: statFilter, Threads: true, Rules: statRules()}); err != nil {
			s.debug(t.TID(), "its looks at open files: %v", err)
		}
		return t.SetRegisters(back)
	})
	if err == tracee.ErrInterrupted {
		back = regs
		back.Again(uint64(c.Nr))
		err = t.SetRegisters(back)
	}
	if err != nil {
		return err
	}
	return t.Continue(0)
}
