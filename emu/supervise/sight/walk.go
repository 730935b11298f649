package sight

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// maxLinks is how many symbolic links the kernel follows in one path (MAXSYMLINKS).
const maxLinks = 40

// procRoot is the inode of the top directory of every /proc.
const procRoot = 1

// walker resolves a path as the kernel does, one name at a time, with the tracee's root and the
// tracee's /proc/self.
type walker struct {
	v     *View
	at    int      // the current directory, a descriptor of its own
	rest  []string // the names still to walk, the next name last
	links int
}

// walk is Find without the kernel's help.
func (v *View) walk(path string) (int, syscall.Errno) {
	w := walker{v: v, at: -1}
	start := v.dir
	if strings.HasPrefix(path, "/") {
		start = v.Root
	}
	if errno := w.start(start); errno != 0 {
		return -1, errno
	}
	w.push(path)
	for len(w.rest) > 0 {
		if errno := w.step(); errno != 0 {
			unix.Close(w.at)
			return -1, errno
		}
	}
	return w.at, 0
}

func (w *walker) start(fd int) syscall.Errno {
	if fd < 0 {
		return unix.ENOENT
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return errnoOf(err)
	}
	w.to(dup)
	return 0
}

func (w *walker) to(fd int) {
	if w.at >= 0 {
		unix.Close(w.at)
	}
	w.at = fd
}

// push puts the names of a path before the ones still to walk. Like ".", a slash at the end
// requires a directory.
func (w *walker) push(path string) {
	names := strings.Split(path, "/")
	if names[len(names)-1] == "" {
		names[len(names)-1] = "."
	}
	for i := len(names) - 1; i >= 0; i-- {
		if names[i] != "" {
			w.rest = append(w.rest, names[i])
		}
	}
}

func (w *walker) step() syscall.Errno {
	name := w.rest[len(w.rest)-1]
	w.rest = w.rest[:len(w.rest)-1]
	last := len(w.rest) == 0
	flags := unix.O_PATH | unix.O_NOFOLLOW
	switch name {
	case "..":
		if w.atRoot() {
			return 0
		}
		flags |= unix.O_DIRECTORY
	case ".":
		flags |= unix.O_DIRECTORY
	}
	fd, err := sys.Openat(w.at, name, flags)
	if err != nil {
		return errnoOf(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return errnoOf(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK || last && !w.v.Follow {
		w.to(fd)
		return 0
	}
	defer unix.Close(fd)
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	if procfs(w.at) {
		return w.procLink(name, fd)
	}
	return w.link(fd)
}

// link goes on with the target of a symbolic link.
func (w *walker) link(fd int) syscall.Errno {
	text, err := readlink(fd)
	if err != nil {
		return errnoOf(err)
	}
	if text == "" {
		return unix.ENOENT
	}
	if text[0] == '/' {
		if errno := w.start(w.v.Root); errno != 0 {
			return errno
		}
	}
	w.push(text)
	return 0
}

// procLink follows a link in /proc: "self" means the tracee, and a process's links lead to files
// that their text does not name. A guest's program is the guest's file, not the emulator.
func (w *walker) procLink(name string, fd int) syscall.Errno {
	var st unix.Stat_t
	if err := unix.Fstat(w.at, &st); err != nil {
		return errnoOf(err)
	}
	if st.Ino == procRoot {
		switch name {
		case "self":
			return w.procDir(strconv.Itoa(w.v.tid))
		case "thread-self":
			return w.procDir(strconv.Itoa(w.v.tid) + "/task/" + strconv.Itoa(w.v.tid))
		}
		return w.link(fd)
	}
	if name == "exe" {
		if fd := w.guest(); fd >= 0 {
			w.v.ByFD = true
			w.to(fd)
			return 0
		}
	}
	target, err := sys.Openat(w.at, name, unix.O_PATH)
	if err != nil {
		return errnoOf(err)
	}
	w.v.ByFD = true
	w.to(target)
	return 0
}

func (w *walker) procDir(name string) syscall.Errno {
	fd, err := sys.Openat(w.v.sight.Proc, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return errnoOf(err)
	}
	w.to(fd)
	return 0
}

// guest opens the guest program of the process whose directory in /proc is reached; negative for a
// native program.
func (w *walker) guest() int {
	path, err := w.v.sight.PathOf(w.at)
	if err != nil {
		return -1
	}
	pid, err := strconv.Atoi(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil {
		return -1
	}
	return w.v.sight.Guest(pid)
}

// atRoot reports whether the walk is at the tracee's root, which ".." does not leave.
func (w *walker) atRoot() bool {
	return sameFile(w.at, w.v.Root)
}

func procfs(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// readlink reads the link that an O_PATH descriptor refers to.
func readlink(fd int) (string, error) {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", b[:])
	return string(b[:max(n, 0)]), err
}
