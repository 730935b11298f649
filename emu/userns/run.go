package userns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/binfmt"
	"binproxy/emu/command"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/signals"
	"binproxy/emu/sys"
)

// Command is a command to run in namespaces of its own, with entries that nobody else sees. Inner,
// if set, gives its ids in one more namespace inside: only a namespace's root can register
// entries, and a caller who keeps his ids is not root.
type Command struct {
	IDs     IDs
	Inner   *IDs
	Entries []binfmt.Entry
	// Subordinates gives the root inside subordinate ids of his own, all except himself, for a
	// command that makes one more namespace with them.
	Subordinates bool
	command.Command

	// set by Run: the start state for the command
	ignored, closed uint64
}

// Fields visits what the child gets.
func (c *Command) Fields(w *entrypoint.Words) {
	entrypoint.Optional(w, &c.Inner, func(w *entrypoint.Words, ids *IDs) { ids.Fields(w) })
	entrypoint.List(w, &c.Entries, func(w *entrypoint.Words, e *binfmt.Entry) { e.Fields(w) })
	w.Bool(&c.Subordinates)
	c.Command.Fields(w)
	entrypoint.Number(w, &c.ignored, &c.closed)
}

// Run runs the command to its end. The error carries its exit status.
func Run(c Command) error {
	runtime.LockOSThread() // the child lives as long as this thread
	defer runtime.UnlockOSThread()
	handOn, err := signals.Forward()
	if err != nil {
		return err
	}
	c.ignored, c.closed = sys.StartState()
	cmd, err := Child{IDs: c.IDs, Env: c.Env}.Start(entrypoint.Userns, &c)
	if err != nil {
		return err
	}
	go handOn(cmd.Process.Pid)
	return wait(cmd.Process.Pid)
}

func wait(child int) error {
	_, status, err := sys.WaitChild(child, 0)
	if err != nil {
		return os.NewSyscallError("wait4", err)
	}
	return exit.Ended(status)
}

// Inside is the child's side of Run. It returns only with an error.
func Inside(words []string) error {
	var c Command
	if err := Arrive(words, &c); err != nil {
		return err
	}
	c.Env = command.InPlaceOf(os.Getppid())
	sys.SetStartState(c.ignored, c.closed)
	// Becoming another user has cleared the signal for the parent's death.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl(PR_SET_PDEATHSIG)", err)
	}
	if os.Getpid() == 1 {
		// If this is refused (a container with a masked /proc), the outer one has to do.
		_ = sys.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if len(c.Entries) > 0 {
		if err := Register(c.Entries); err != nil {
			return err
		}
	}
	if c.Subordinates {
		if err := giveSubordinates(); err != nil {
			return err
		}
	}
	if c.Inner != nil {
		if c.Root != "" {
			command.Lend(c.Root)
		}
		c.IDs, c.Inner, c.Entries = *c.Inner, nil, nil
		return Run(c)
	}
	if err := c.EnterRoot(); err != nil {
		return err
	}
	if err := dropAmbient(); err != nil {
		return err
	}
	return c.Exec()
}

// Register mounts the namespace's binfmt_misc and puts the entries into it. Since some kernels
// show no entries at all, it checks that they are there.
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
		if fd, ok := sys.OwnDescriptor(e.Interpreter); ok {
			unix.CloseOnExec(fd) // the entry has it now, and the command must not
		}
	}
	return nil
}

// giveSubordinates covers /etc/subuid and /etc/subgid with files of our own, which newuidmap(1)
// reads. They have no name: only our mounts lead to them.
func giveSubordinates() error {
	for file, maps := range map[string]string{"/etc/subuid": "/proc/self/uid_map", "/etc/subgid": "/proc/self/gid_map"} {
		ranges, err := identityOf(maps)
		if err != nil {
			return err
		}
		var lines strings.Builder
		for _, r := range ranges {
			if first := max(r.Inside, 1); r.Inside+r.Count > first {
				fmt.Fprintf(&lines, "root:%d:%d\n", first, r.Inside+r.Count-first)
			}
		}
		if err := coverFile(file, lines.String()); err != nil {
			return fmt.Errorf("subordinate ids for root of the user namespace: %w", err)
		}
	}
	return nil
}

// coverFile mounts a file with the text over the file.
func coverFile(path, text string) error {
	cover, err := os.CreateTemp("", "binproxy-")
	if err != nil {
		return err
	}
	defer os.Remove(cover.Name())
	_, err = cover.WriteString(text)
	if err = errors.Join(err, cover.Chmod(0o644), cover.Close()); err != nil {
		return err
	}
	return sys.Bind(cover.Name(), path)
}
