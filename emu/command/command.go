// Package command is a command that a route runs: where it is found, which root and directory it
// runs in, and how a process of ours becomes it, by chroot, chdir and execve in this order.
package command

import (
	"os"
	"path/filepath"
	"runtime"
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
// directory in it the working directory. A root without the kernel's file systems gets them first,
// where we may mount; this locks the thread to its goroutine.
func (c Command) EnterRoot() error {
	if c.Root != "" {
		supply(c.Root)
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

// kernelDirs are where the kernel's file systems are, each with something that it holds.
var kernelDirs = [...][2]string{{"proc", "self"}, {"dev", "null"}, {"sys", "kernel"}}

// Lend gives the root the host's /proc, /dev and /sys where it has directories for them, in a user
// namespace and a mount namespace of our own: an ordinary user cannot mount new ones.
func Lend(root string) {
	for _, dir := range kernelDirs {
		lend(root, dir[0])
	}
}

// supply lends the root those that it lacks, in a mount namespace of this thread's own.
func supply(root string) {
	own := false
	for _, dir := range kernelDirs {
		if !lacks(root, dir) {
			continue
		}
		if !own && !ownMounts(root) {
			return
		}
		own = true
		lend(root, dir[0])
	}
}

// ownMounts reports whether this thread could get mounts that appear nowhere else. The root
// becomes one of them, as it is for df wherever there is a /proc.
func ownMounts(root string) bool {
	runtime.LockOSThread()
	if unix.Unshare(unix.CLONE_NEWNS) != nil || sys.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") != nil {
		return false
	}
	_ = sys.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, "")
	return true
}

// lacks reports whether the root has the directory, but not what the kernel has in it. A plain
// file is what somebody has left who wrote to /dev/null in there.
func lacks(root string, dir [2]string) bool {
	at := filepath.Join(root, dir[0])
	var st unix.Stat_t
	if unix.Lstat(at, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false
	}
	return unix.Lstat(at+"/"+dir[1], &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFREG
}

// lend mounts a directory of the host in the root. A link there would lead out of it.
func lend(root, name string) {
	at, err := sys.Open(filepath.Join(root, name), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return
	}
	_ = sys.Bind("/"+name, "/proc/self/fd/"+strconv.Itoa(at))
	unix.Close(at)
}
