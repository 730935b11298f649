package record

import (
	"os"
	"syscall"

	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/seccomp"
	"binproxy/emu/sys"
)

// Denial is a command for which one call fails with an errno.
type Denial struct {
	Key
	Errno syscall.Errno
	Path  string
	Argv  []string
}

// Fields visits all of it.
func (d *Denial) Fields(w *entrypoint.Words) {
	errno := uint32(d.Errno)
	entrypoint.Number(w, &d.Audit, &d.Nr, &errno)
	d.Errno = syscall.Errno(errno)
	w.String(&d.Path)
	w.Strings(&d.Argv)
}

// Deny is an entrypoint: it denies the call and becomes the command. It returns only with an
// error.
func Deny(words []string) error {
	var d Denial
	if err := entrypoint.Read(words, &d); err != nil {
		return err
	}
	filter, err := seccomp.Deny(uint16(d.Errno), seccomp.Denial{Audit: d.Audit, Ranges: []seccomp.Range{{First: d.Nr, Last: d.Nr}}})
	if err == nil {
		err = sys.RestoreNofile()
	}
	if err == nil {
		err = sys.Confine(filter)
	}
	if err != nil {
		return exit.With(exit.Failed, err)
	}
	err = sys.Exec(d.Path, d.Argv, os.Environ())
	return exit.With(exit.OfExec(err), err)
}
