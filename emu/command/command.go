// Package command is a command that a route runs: where it is found, which root and directory it
// runs in, and how a process of ours becomes it, by chroot, chdir and execve in this order.
package command

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/entrypoint"
	"binproxy/emu/sys"
)

// Command is a command and where to run it.
type Command struct {
	Name string // looked up in PATH of Env, as execvp does
	Argv []string
	Env  []string
	Root string // the directory that is its root; "" for our own
	Dir  string // its working directory, within Root; "" for ours, or / of Root
}

// Fields leaves the environment out: an argv is readable by all, and the environment may be
// secret.
func (c *Command) Fields(w *entrypoint.Words) {
	w.String(&c.Name, &c.Root, &c.Dir)
	w.Strings(&c.Argv)
}

// Become becomes the command. It returns only with an error.
func (c Command) Become() error {
	if err := c.EnterRoot(); err != nil {
		return err
	}
	return c.Exec()
}

// EnterRoot makes the command's root, if it has one, the root directory, and the command's
// directory in it the working directory.
func (c Command) EnterRoot() error {
	if c.Root != "" {
		if err := unix.Chroot(c.Root); err != nil {
			return &os.PathError{Op: "chroot", Path: c.Root, Err: err}
		}
		if err := os.Chdir("/"); err != nil {
			return err
		}
	}
	if c.Dir == "" {
		return nil
	}
	return os.Chdir(c.Dir)
}

// InPlaceOf is the environment of this process, for a command that runs in place of the process
// former: variables that name it by its number, as those of socket activation (LISTEN_PID) and of
// a service manager's watchdog do, name this process instead.
func InPlaceOf(former int) (env []string) {
	was, is := "PID="+strconv.Itoa(former), "PID="+strconv.Itoa(os.Getpid())
	for _, entry := range os.Environ() {
		if name, ok := strings.CutSuffix(entry, was); ok && !strings.Contains(name, "=") {
			entry = name + is
		}
		// What else tells whether LISTEN_PID means this process, by a number that this one has
		// not.
		if !strings.HasPrefix(entry, "LISTEN_PIDFDID=") {
			env = append(env, entry)
		}
	}
	return env
}

// Lend gives the root the host's /proc, /dev and /sys where it has empty directories for them, in
// a user namespace and a mount namespace of our own: an ordinary user cannot mount new ones.
func Lend(root string) {
	for _, name := range []string{"proc", "dev", "sys"} {
		_ = sys.Bind("/"+name, filepath.Join(root, name))
	}
}
