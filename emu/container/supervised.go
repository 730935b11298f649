package container

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/emulator"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/route"
	"binproxy/emu/supervise"
)

// proof is the message to the process that runs the proof.
type proof struct{ abi string }

func (p *proof) Fields(w *entrypoint.Words) { w.String(&p.abi) }

// proveSupervised starts the proof: a process that supervises can do nothing else any more.
func proveSupervised(abi string, emulator *os.File) error {
	program, err := route.InMemory(arch.Get(abi))
	if err != nil {
		return err
	}
	defer program.Close()
	cmd := entrypoint.Command(entrypoint.Prove, &proof{abi})
	cmd.ExtraFiles = []*os.File{program, emulator}
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == tiny.Status {
		return nil
	}
	return errors.Join(err, errors.New(strings.TrimSpace(string(said))))
}

// Prove is the proof: a supervisor runs the smallest program. That program is descriptor 3, the
// emulator is the next.
func Prove(words []string) error {
	var p proof
	if err := entrypoint.Read(words, &p); err != nil {
		return err
	}
	unix.CloseOnExec(3) // ours, not for the supervisor to let go
	unix.CloseOnExec(4)
	program := fmt.Sprintf("/proc/%d/fd/3", os.Getpid())
	return supervised(supervise.Config{Command: program, Argv: []string{program}}, p.abi, "/proc/self/fd/4")
}

// supervised runs the command under a supervisor, which routes programs of the ABI to the emulator
// at path; "" if the kernel routes.
func supervised(c supervise.Config, abi, path string) error {
	c.Env = os.Environ()
	c.Guest = func(a *arch.ABI) bool { return path != "" && a.QEMU == arch.Get(abi).QEMU }
	c.Emulator = func(a *arch.ABI) (emulator.Emulator, error) {
		return emulator.Emulator{QEMU: a.QEMU, Path: path}, nil
	}
	status, err := supervise.Run(c)
	if err != nil {
		return err
	}
	return exit.Ended(status)
}

// superviseLanding starts the landing under a supervisor that shows the identity, or routes, or
// both. The container's root supervises, so that setuid programs get their rights.
func (v visit) superviseLanding() error {
	c := supervise.Config{Command: entrypoint.Self, Identity: v.Identity, Proc: v.Proc}
	abi, emulator := v.ABI, v.Emulator
	if v.EmulatorFD != 0 {
		unix.CloseOnExec(v.EmulatorFD)
		emulator = fmt.Sprintf("/proc/self/fd/%d", v.EmulatorFD)
	}
	v.Identity, v.Emulator, v.EmulatorFD = identity.Identity{}, "", 0
	var err error
	if c.Argv, err = entrypoint.Argv(entrypoint.Enter, &v); err != nil {
		return err
	}
	return supervised(c, abi, emulator)
}
