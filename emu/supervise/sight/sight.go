// Package sight is the file system as a stopped tracee sees it: it finds the file that an exec or
// open of a path reaches from the tracee's root and working directory, with its ids, in its
// mounts.
//
// A View is a resolve.FS. It needs descriptors of the root and of the directory where a relative
// path starts, and a stance: the ids that this thread takes on while it looks. If everything on
// the way means the same to the tracee and to us, the kernel looks a path up in one call, confined
// to the root (openat2). Otherwise the View walks the path name by name. Two callbacks add which
// file a farm's link stands for, and which program a guest's process runs.
//
// A View need not be right about what the kernel checks again anyway. If a View says that a
// program may be executed, the kernel would have executed it. If the View cannot be sure, it says
// so (Doubt).
package sight

import (
	"cmp"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Sight is what all views share.
type Sight struct {
	Proc int // a descriptor of /proc
	Self int // a descriptor of /proc/self/fd

	// what stands behind a path to binproxy itself; nil for nothing
	Behind func(path string) string
	// opens the guest's program that a process runs; negative for none
	Guest func(pid int) (fd int)

	own    unix.Stat_t // binproxy itself
	ids    sys.FileIDs // this thread's
	userns string      // ours, as /proc names it
	status [8192]byte  // room for a /proc/PID/status
	walks  bool        // the kernel has no openat2 for us
	coarse bool        // the kernel has no faccessat2 either
}

// New returns the sight of this thread, with descriptors of /proc and /proc/self/fd.
func New(proc, self int) (*Sight, error) {
	s := &Sight{Proc: proc, Self: self, Guest: func(int) int { return -1 }}
	if err := unix.Fstatat(proc, "self/exe", &s.own, 0); err != nil {
		return nil, err
	}
	s.userns = s.link("self/ns/user")
	status, err := s.Status("thread-self")
	s.ids = status.FileIDs
	return s, err
}

// View opens a thread's root and, if the path needs it, the directory where the path starts: the
// working directory, or the descriptor dirfd.
func (s *Sight) View(tid int, path string, dirfd int) (*View, error) {
	v := &View{sight: s, tid: tid, Root: -1, dir: -1, Follow: true}
	var err error
	if v.stance, err = s.stanceFor(tid); err != nil {
		return nil, err
	}
	v.Doubt = v.stance.doubt
	back := s.approach(v.stance)
	defer back()
	if v.Root, err = s.open(tid, "root"); err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, "/") {
		return v, nil
	}
	if v.dir, err = s.open(tid, place(dirfd)); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// Ahead returns the view of a process of ours after it changes its root directory and then its
// working directory; "" means that it does not change that one.
func (s *Sight) Ahead(root, dir string) (*View, error) {
	v := &View{sight: s, tid: os.Getpid(), stance: Stance{ids: s.ids}, Root: -1, dir: -1, Follow: true}
	var err error
	if v.Root, err = sys.Openat(unix.AT_FDCWD, cmp.Or(root, "/"), unix.O_PATH|unix.O_DIRECTORY); err != nil {
		return nil, err
	}
	if v.dir, err = sys.Openat(unix.AT_FDCWD, cmp.Or(root, "."), unix.O_PATH|unix.O_DIRECTORY); err != nil {
		v.Close()
		return nil, err
	}
	if dir == "" {
		return v, nil
	}
	fd, errno := v.Find(dir)
	if errno != 0 {
		v.Close()
		return nil, errno
	}
	unix.Close(v.dir)
	v.dir = fd
	return v, nil
}

// place is the entry of /proc/TID for a directory that a call names by a descriptor.
func place(dirfd int) string {
	if dirfd == unix.AT_FDCWD {
		return "cwd"
	}
	return "fd/" + strconv.Itoa(dirfd)
}

// open opens an entry of /proc/TID: an O_PATH descriptor of what it leads to.
func (s *Sight) open(tid int, name string) (int, error) {
	return sys.Openat(s.Proc, strconv.Itoa(tid)+"/"+name, unix.O_PATH)
}

// Glance looks a path up once with our own rights: it returns an O_PATH descriptor of the file, or
// -1 for none. If a thread might find another file, the answer is not known: finding out a
// thread's rights is slow.
func (s *Sight) Glance(tid int, path string, dirfd int) (fd int, known bool) {
	if s.walks || special(path) {
		return -1, false
	}
	start, resolve := "root", uint64(unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
	if path[0] != '/' {
		start, resolve = place(dirfd), unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS
	}
	from, err := s.open(tid, start)
	if err != nil {
		return -1, false
	}
	defer unix.Close(from)
	fd, err = sys.Openat2(from, path, unix.O_PATH, resolve)
	if err != nil {
		return -1, err == unix.ENOENT || err == unix.ENOTDIR
	}
	return fd, true
}

// PathOf returns the path of an open file of ours.
func (s *Sight) PathOf(fd int) (string, error) {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(s.Self, strconv.Itoa(fd), b[:])
	return string(b[:max(n, 0)]), err
}

// NameOf returns the last part of that path, as it was before a deletion.
func (s *Sight) NameOf(fd int) string {
	path, _ := s.PathOf(fd)
	return strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], " (deleted)")
}
