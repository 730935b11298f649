package record

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"

	"golang.org/x/sys/unix"
)

// Kind says whether a command needs a call.
type Kind string

// What happens to the command when a call is denied.
const (
	Hard     Kind = "hard"     // it ends differently after ENOSYS
	Soft     Kind = "soft"     // it goes on
	Poisoned Kind = "poisoned" // it goes on after ENOSYS, and ends differently after EPERM
	Unknown  Kind = "unknown"  // it does not end alike twice, so nothing follows
)

// Again runs a command again and again, each time with one call denied.
type Again struct {
	Path   string
	Argv   []string
	Env    []string
	Wanted int           // the command's own status
	Limit  time.Duration // a run that takes longer counts as one that ended differently
}

// errLate means that a run was ended because it took too long.
const errLate = exit.Sentinel("it took too long")

// Stable reports whether the command ends alike with nothing denied, and without its standard
// input.
func (a Again) Stable() (bool, error) {
	status, err := a.run(a.Path, a.Argv)
	if errors.Is(err, errLate) {
		return false, nil
	}
	return status == a.Wanted, err
}

// Kind finds the kind of one call.
func (a Again) Kind(key Key) (Kind, error) {
	for _, step := range [...]struct {
		errno     syscall.Errno
		otherwise Kind
	}{{unix.ENOSYS, Hard}, {unix.EPERM, Poisoned}} {
		argv, err := entrypoint.Argv(entrypoint.Deny, &Denial{Key: key, Errno: step.errno, Path: a.Path, Argv: a.Argv})
		if err != nil {
			return Unknown, err
		}
		status, err := a.run(entrypoint.Self, argv)
		if err != nil && !errors.Is(err, errLate) {
			return Unknown, err
		}
		if err != nil || status != a.Wanted {
			return step.otherwise, nil
		}
	}
	return Soft, nil
}

// run starts the command in a process group of its own, without output, and gives its exit status.
func (a Again) run(path string, argv []string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Args = argv
	cmd.Env = a.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("run the command again: %w", err)
	}
	err := cmd.Wait()
	if ctx.Err() != nil {
		return 0, errLate
	}
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return 0, fmt.Errorf("run the command again: %w", err)
	}
	return Status(unix.WaitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus))), nil
}

// Status is the exit status as a shell gives it: 128+N for an end by signal N.
func Status(s unix.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}
