package supervise

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/resolve"
	"binproxy/emu/sys"
)

// view is the file system as one stopped tracee sees it: a resolve.FS. A path is looked up from the tracee's own root and working
// directory, under its ids. What the kernel itself checks again anyway need not be right here; what this view calls a guest program that
// may be executed, the kernel would have executed.
type view struct {
	s      *supervisor
	t      *task
	stance stance
	root   int  // the tracee's root, an O_PATH descriptor
	dir    int  // what a relative path starts from
	follow bool // whether a symbolic link that the path ends in is followed

	first string // what the kernel calls the file that execveat names by a descriptor; "" otherwise
	last  *file  // what Open found last
	doubt bool   // whether the kernel has to be asked if it would execute that
	byFD  bool   // the emulator cannot open it by its path
}

// file is an open file: an O_PATH descriptor, and one to read by.
type file struct {
	path, reader int
	stat         unix.Stat_t
}

func (f *file) close() {
	if f == nil {
		return
	}
	unix.Close(f.path)
	if f.reader >= 0 {
		unix.Close(f.reader)
	}
}

// newView opens the tracee's root and, if the path needs it, where it starts: the working directory, or the descriptor dirfd.
func (s *supervisor) newView(t *task, path string, dirfd int) (*view, error) {
	v := &view{s: s, t: t, root: -1, dir: -1, follow: true}
	var err error
	if v.stance, err = s.stanceFor(t); err != nil {
		return nil, err
	}
	v.doubt = v.stance.doubt
	back := s.approach(v.stance)
	defer back()
	if v.root, err = s.openProc(t.TID(), "root"); err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(path, "/"):
	default:
		v.dir, err = s.openProc(t.TID(), place(dirfd))
	}
	if err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// place is where /proc/TID has a directory that a call names by a descriptor.
func place(dirfd int) string {
	if dirfd == unix.AT_FDCWD {
		return "cwd"
	}
	return "fd/" + strconv.Itoa(dirfd)
}

func (v *view) close() {
	for _, fd := range []int{v.root, v.dir} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	v.last.close()
}

// toWorkingDirectory has relative paths start there: that of an interpreter does, wherever its script's path started.
func (v *view) toWorkingDirectory() syscall.Errno {
	if v.dir >= 0 {
		unix.Close(v.dir)
	}
	back := v.s.approach(v.stance)
	defer back()
	var err error
	v.dir, err = v.s.openProc(v.t.TID(), place(unix.AT_FDCWD))
	return errnoOf(err)
}

// openProc opens what /proc has of a thread, as an O_PATH descriptor of what it leads to.
func (s *supervisor) openProc(tid int, name string) (int, error) {
	return sys.Openat(s.proc, strconv.Itoa(tid)+"/"+name, unix.O_PATH)
}

// Open finds the file that execve of path would load.
func (v *view) Open(path string) (resolve.File, syscall.Errno) {
	if v.last != nil && !strings.HasPrefix(path, "/") {
		if errno := v.toWorkingDirectory(); errno != 0 {
			return resolve.File{}, errno
		}
	}
	v.last.close()
	v.last = nil
	named := v.first
	v.first = ""
	v.byFD = named != ""
	back := v.s.assume(v.stance)
	fd, st, errno := v.lookUp(path)
	if errno != 0 {
		back()
		return resolve.File{}, errno
	}
	v.follow = true // an interpreter's path is followed always
	if v.isOwn(&st) {
		if behind, real := v.behind(path); behind >= 0 {
			unix.Close(fd)
			fd, path, named = behind, real, real
			_ = unix.Fstat(fd, &st)
		}
	}
	f := &file{fd, -1, st}
	v.last = f
	if !v.permits(fd, &st, unix.X_OK) {
		v.doubt = true
	}
	if st.Mode&0o004 == 0 && !v.permits(fd, &st, unix.R_OK) {
		v.byFD = true
	}
	back()
	reader, err := sys.Reopen(v.s.self, fd, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return resolve.File{}, unix.EACCES
	}
	f.reader = reader
	if sys.Written(reader) {
		v.doubt = true
	}
	head := make([]byte, resolve.HeadSize)
	n, err := sys.ReadAt(reader, head, 0)
	if err != nil {
		return resolve.File{}, sys.Errno(err)
	}
	result := resolve.File{Path: path, Name: named, Head: head[:n]}
	if v.byFD {
		result.Path = v.pathOf(fd, cmp.Or(named, path))
	}
	return result, 0
}

// permits tells whether the tracee has a permission on a file, while its ids are assumed.
func (v *view) permits(fd int, st *unix.Stat_t, mode uint32) bool {
	err := sys.Access(fd, mode)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err == nil
	}
	if !v.stance.differ {
		return sys.AccessReal(v.s.self, fd, mode) == nil
	}
	v.doubt = true // the bits are not all that there is to it
	return v.stance.bits(st)&mode == mode
}

// lookUp finds a regular file.
func (v *view) lookUp(path string) (fd int, st unix.Stat_t, errno syscall.Errno) {
	fd, errno = v.find(path)
	if errno != 0 {
		return -1, st, errno
	}
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, st, unix.EACCES
	}
	return fd, st, 0
}

// behind finds the file that a farm's link at path stands for; -1 where there is none, and binproxy itself is to be executed. It is
// the last of the links that lead here whose name tells.
func (v *view) behind(path string) (int, string) {
	if v.s.config.Behind == nil {
		return -1, ""
	}
	for range maxLinks {
		target, ok := v.target(path)
		if !ok {
			return -1, ""
		}
		if _, link := v.target(target); !link {
			break
		}
		path = target
	}
	real := v.s.config.Behind(path)
	if real == "" {
		return -1, ""
	}
	fd, st, errno := v.lookUp(real)
	if errno != 0 {
		return -1, ""
	}
	if v.isOwn(&st) {
		unix.Close(fd)
		return v.behind(real)
	}
	return fd, real
}

// target is what the symbolic link at path names, from where path is; not ok for what is no link.
func (v *view) target(path string) (string, bool) {
	v.follow = false
	defer func() { v.follow = true }()
	fd, errno := v.find(path)
	if errno != 0 {
		return "", false
	}
	defer unix.Close(fd)
	text, err := readlink(fd)
	if err != nil || text == "" {
		return "", false
	}
	if text[0] != '/' {
		text = path[:strings.LastIndexByte(path, '/')+1] + text
	}
	return text, true
}

func (v *view) isOwn(st *unix.Stat_t) bool { return st.Dev == v.s.own.Dev && st.Ino == v.s.own.Ino }

// pathOf is a path by which the tracee can find an open file later on, other than by a descriptor of its own: an emulator answers
// /proc/self/exe with it. Where there is none it is the given one.
func (v *view) pathOf(fd int, given string) string {
	path, err := readlinkOf(v.s.self, fd)
	if err != nil {
		return given
	}
	root, err := readlinkOf(v.s.self, v.root)
	if err != nil {
		return given
	}
	inside, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
	if !ok || !strings.HasPrefix(inside, "/") {
		return given
	}
	byFD := v.byFD
	defer func() { v.byFD = byFD }()
	again, errno := v.find(inside)
	if errno != 0 {
		return given
	}
	defer unix.Close(again)
	if !sameFile(fd, again) {
		return given
	}
	return inside
}

func sameFile(a, b int) bool {
	var first, second unix.Stat_t
	return unix.Fstat(a, &first) == nil && unix.Fstat(b, &second) == nil && first.Dev == second.Dev && first.Ino == second.Ino
}

// fileName is the last part of the path of an open file, as it was before a deletion.
func (s *supervisor) fileName(fd int) string {
	path, _ := readlinkOf(s.self, fd)
	return strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], " (deleted)")
}

// find looks path up and gives an O_PATH descriptor. The kernel does it at once (openat2, Linux 5.6) where nothing on the way means
// another thing to the tracee than to us: RESOLVE_IN_ROOT keeps absolute links in the tracee's root, and refuses the links of /proc that
// are none. Where it refuses, we walk.
func (v *view) find(path string) (int, syscall.Errno) {
	if path == "" {
		if v.dir < 0 {
			return -1, unix.ENOENT
		}
		fd, err := unix.FcntlInt(uintptr(v.dir), unix.F_DUPFD_CLOEXEC, 0)
		v.byFD = true
		return fd, errnoOf(err)
	}
	flags := uint64(unix.O_PATH)
	if !v.follow {
		flags |= unix.O_NOFOLLOW
	}
	from, resolve := v.root, uint64(unix.RESOLVE_IN_ROOT)
	if path[0] != '/' {
		from, resolve = v.dir, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS
	}
	if !v.s.walks && !special(path) {
		fd, err := sys.Openat2(from, path, flags, resolve)
		switch err {
		case nil:
			return fd, 0
		case unix.ENOSYS, unix.EPERM:
			v.s.walks = true
		case unix.ELOOP, unix.EXDEV, unix.EAGAIN:
		default:
			return -1, errnoOf(err)
		}
	}
	return v.walk(path)
}

// special tells paths that may lead through /proc/self, which is ours for us.
func special(path string) bool {
	return strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/dev/")
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return sys.Errno(err)
}
