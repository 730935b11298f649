package launch

import (
	"binproxy/emu/command"
	"binproxy/emu/entrypoint"
	"binproxy/emu/identity"
)

// order is what the launcher is told: the command, without its environment, which is the
// launcher's own, and what to do before it becomes the command.
type order struct {
	command.Command
	ignored, closed uint64            // the start state for the command
	lend            bool              // show the host's /proc, /dev and /sys in the root
	socket          int               // to talk to the supervisor over
	identity        identity.Identity // the identity to show; empty for the kernel's own
	proc            identity.Proc
	twins           string // a directory of twins to mount there; "" for none
}

func (o *order) Fields(w *entrypoint.Words) {
	o.Command.Fields(w)
	entrypoint.Number(w, &o.ignored, &o.closed)
	w.Bool(&o.lend)
	entrypoint.Number(w, &o.socket)
	w.String(o.identity.Values()...)
	w.String((*string)(&o.proc), &o.twins)
}
