package supervise

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/supervise/launch"
	"binproxy/emu/sys"
)

// RunInNamespace runs the command in a user namespace whose own binfmt_misc routes its execs (the
// userns route), and gives its end.
func RunInNamespace(c Config) (unix.WaitStatus, error) {
	entries := map[string]string{}
	for _, abi := range arch.All() {
		if abi.QEMU == "" || !c.Guest(abi) {
			continue
		}
		e, err := c.Emulator(abi)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if e.Loader != "" {
			return 0, &Refused{Route: "userns", Err: errors.New("binfmt_misc names one file, and the emulator " + e.Path + " needs its loader too")}
		}
		entries[abi.Name] = e.Path
	}
	handOn, err := forward()
	if err != nil {
		return 0, err
	}
	child, err := launch.InNamespace(c.command(), entries)
	if err != nil {
		return 0, &Refused{Route: "userns", Err: err}
	}
	go handOn(child)
	for {
		stop, err := sys.Wait(child)
		if err != nil || !stop.Status.Stopped() {
			return stop.Status, err
		}
	}
}
