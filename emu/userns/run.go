package userns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/binfmt"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// Entrypoint is the private mode of the applet binfmt in which the child of Run starts.
const Entrypoint = "userns-inside"

// Command is a program to run in namespaces of its own, with entries that no other sees. Inner,
// where it is set, is who the program is in one more namespace inside: only a namespace's root can
// register entries, and a caller who is to stay himself is not root.
type Command struct {
	IDs     IDs `json:"-"`
	Inner   *IDs
	Entries []binfmt.Entry
	Path    string // the program; "" to look Argv[0] up in PATH, inside
	Argv    []string
	Env     []string
	Dir     string // "" for the current one
}

// Run runs the command to its end; its exit status is the error's.
func Run(c Command) error {
	runtime.LockOSThread() // the child lives as long as this thread
	defer runtime.UnlockOSThread()
	signals := Catch()
	defer signals.Stop()
	cmd, err := Start([]string{"binfmt", Entrypoint}, c.IDs, c, false)
	if err != nil {
		return err
	}
	return signals.Wait(cmd.Process.Pid)
}

// Inside is the child's side of Run: it returns only with an error.
func Inside() error {
	var c Command
	if err := Arrive(&c); err != nil {
		return err
	}
	// Becoming another user has taken the parent's death from what we are told.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl(PR_SET_PDEATHSIG)", err)
	}
	if os.Getpid() == 1 {
		// Where it is refused (a container with a masked /proc) the one of outside has to do.
		_ = sys.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if len(c.Entries) > 0 {
		if err := Register(c.Entries); err != nil {
			return err
		}
	}
	if c.Inner != nil {
		inner := c
		inner.IDs, inner.Inner, inner.Entries = *c.Inner, nil, nil
		return Run(inner)
	}
	if c.Dir != "" {
		if err := os.Chdir(c.Dir); err != nil {
			return err
		}
	}
	if c.Path == "" {
		c.Path = c.Argv[0]
	}
	path, err := exec.LookPath(c.Path)
	if errors.Is(err, exec.ErrNotFound) {
		return exit.With(exit.NotFound, err)
	}
	if err != nil {
		return exit.With(exit.OfExec(err), err)
	}
	err = Exec(path, c.Argv, c.Env)
	return exit.With(exit.OfExec(err), err)
}

// Register mounts a binfmt_misc of the namespace and puts the entries into it. Some kernels show
// none at all; so they are looked for.
func Register(entries []binfmt.Entry) error {
	registry, err := binfmt.Mount()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := registry.Register(e); err != nil {
			return err
		}
		if _, err := registry.Get(e.Name); err != nil {
			return fmt.Errorf("entry %s was registered, but this kernel does not list it: %w", e.Name, err)
		}
	}
	return nil
}

// Signals are those that came since Catch; whoever starts a child catches them first, so that none
// ends us and leaves the child.
type Signals chan os.Signal

// Catch begins to hold back the signals that Wait hands on.
func Catch() Signals {
	signals := make(Signals, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return signals
}

// Wait waits for the child, hands on the signals that a terminal does not send to both, and gives
// the child's exit status as the error's.
func (signals Signals) Wait(child int) error {
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGINT && s != syscall.SIGQUIT {
					_ = unix.Kill(child, s.(syscall.Signal))
				}
			case <-done:
				return
			}
		}
	}()
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(child, &status, 0, nil); err == nil {
			return exit.Ended(status)
		} else if err != unix.EINTR {
			return os.NewSyscallError("wait4", err)
		}
	}
}

// Stop gives the signals their usual effect again.
func (signals Signals) Stop() { signal.Stop(signals) }
