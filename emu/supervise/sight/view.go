package sight

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/resolve"
	"binproxy/emu/sys"
)

// View is the file system as one stopped thread sees it: a resolve.FS.
type View struct {
	sight  *Sight
	tid    int
	stance Stance
	dir    int // what a relative path starts from; negative if it was not needed

	Root   int    // the thread's root, an O_PATH descriptor
	Follow bool   // whether a symbolic link that the path ends in is followed
	First  string // what the kernel calls a file named by a descriptor; "" otherwise

	Last     *File // what Open found last
	Doubt    bool  // whether to ask the kernel if it would execute that file
	ByFD     bool  // the emulator cannot open it by its path
	Unproven bool  // we would not let the thread execute it: hand over no descriptor
}

// File is an open file.
type File struct {
	FD     int // an O_PATH descriptor
	Reader int // one to read by
	Stat   unix.Stat_t
}

// Take returns the O_PATH descriptor, which then stays open.
func (f *File) Take() int {
	fd := f.FD
	f.FD = -1
	return fd
}

func (f *File) close() {
	if f == nil {
		return
	}
	for _, fd := range []int{f.FD, f.Reader} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Close closes what the view holds open.
func (v *View) Close() {
	for _, fd := range []int{v.Root, v.dir} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	v.Last.close()
}

// toWorkingDirectory makes relative paths start in the working directory. An interpreter's path
// does so, wherever the script's path started.
func (v *View) toWorkingDirectory() syscall.Errno {
	if v.dir >= 0 {
		unix.Close(v.dir)
	}
	back := v.sight.approach(v.stance)
	defer back()
	var err error
	v.dir, err = v.sight.open(v.tid, place(unix.AT_FDCWD))
	return errnoOf(err)
}

// Open finds the file that execve of path would load.
func (v *View) Open(path string) (resolve.File, syscall.Errno) {
	if v.Last != nil && !strings.HasPrefix(path, "/") {
		if errno := v.toWorkingDirectory(); errno != 0 {
			return resolve.File{}, errno
		}
	}
	v.Last.close()
	v.Last = nil
	named := v.First
	v.First = ""
	v.ByFD = named != ""
	back := v.sight.assume(v.stance)
	fd, st, errno := v.lookUp(path)
	if errno != 0 {
		back()
		if errno == unix.EACCES && v.mayDiffer(path) {
			return v.openAs(path)
		}
		return resolve.File{}, errno
	}
	v.Follow = true // an interpreter's path is always followed
	if v.isOwn(&st) {
		if behind, real := v.behind(path); behind >= 0 {
			unix.Close(fd)
			fd, path, named = behind, real, real
			_ = unix.Fstat(fd, &st)
		}
	}
	f := &File{fd, -1, st}
	v.Last = f
	may := v.permits(fd, &st, unix.X_OK)
	if v.stance.losing() || st.Mode&0o004 == 0 && !v.permits(fd, &st, unix.R_OK) {
		v.ByFD = true
	}
	back()
	if !may {
		if v.certain() {
			return resolve.File{}, unix.EACCES
		}
		v.Doubt, v.Unproven = true, true
	}
	reader, err := sys.Reopen(v.sight.Self, fd, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return resolve.File{}, unix.EACCES
	}
	f.Reader = reader
	return v.read(path, named)
}

// read gives what Open has found.
func (v *View) read(path, named string) (resolve.File, syscall.Errno) {
	if sys.Written(v.Last.Reader) {
		v.Doubt = true
	}
	head := make([]byte, resolve.HeadSize)
	n, err := sys.ReadAt(v.Last.Reader, head, 0)
	if err != nil {
		return resolve.File{}, sys.Errno(err)
	}
	result := resolve.File{Path: path, Name: named, Head: head[:n]}
	if v.ByFD {
		result.Path = v.lasting(v.Last.FD, cmp.Or(named, path))
	}
	return result, 0
}

// certain reports whether the kernel, too, denies a permission that permits denies. Only root
// knows the rights of others, and only in its own user namespace.
func (v *View) certain() bool {
	return v.sight.ids.UID == 0 && !v.stance.doubt && !v.sight.coarse
}

// permits reports whether the tracee has a permission on a file, while its ids are assumed.
func (v *View) permits(fd int, st *unix.Stat_t, mode uint32) bool {
	err := sys.Access(fd, mode)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err == nil
	}
	if !v.stance.differ {
		return sys.AccessReal(v.sight.Self, fd, mode) == nil
	}
	v.Doubt, v.sight.coarse = true, true // the bits do not say everything
	return v.stance.bits(st)&mode == mode
}

// lookUp finds a regular file.
func (v *View) lookUp(path string) (fd int, st unix.Stat_t, errno syscall.Errno) {
	fd, errno = v.Find(path)
	if errno != 0 {
		return -1, st, errno
	}
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, st, unix.EACCES
	}
	return fd, st, 0
}

// behind finds the file that a farm's link at path stands for; -1 if there is none, and binproxy
// itself is to be executed. The last link that leads here and has a telling name decides. The file
// found may be such a link again, and so may the next one, in a circle.
func (v *View) behind(path string) (int, string) {
	if v.sight.Behind == nil {
		return -1, ""
	}
	for range maxLinks {
		if path = v.lastLink(path); path == "" {
			break
		}
		if path = v.sight.Behind(path); path == "" {
			break
		}
		fd, st, errno := v.lookUp(path)
		if errno != 0 {
			break
		}
		if !v.isOwn(&st) {
			return fd, path
		}
		unix.Close(fd)
	}
	return -1, ""
}

// lastLink returns the last of the symbolic links that lead from path to a file; "" if path is
// none.
func (v *View) lastLink(path string) string {
	for range maxLinks {
		target, ok := v.target(path)
		if !ok {
			return ""
		}
		if _, link := v.target(target); !link {
			break
		}
		path = target
	}
	return path
}

// target returns what the symbolic link at path names, relative to path; not ok if path is no
// link.
func (v *View) target(path string) (string, bool) {
	v.Follow = false
	defer func() { v.Follow = true }()
	fd, errno := v.Find(path)
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

func (v *View) isOwn(st *unix.Stat_t) bool {
	return st.Dev == v.sight.own.Dev && st.Ino == v.sight.own.Ino
}

// Inside returns the path of an open file in the thread's root.
func (v *View) Inside(fd int) (string, error) {
	path, err := v.sight.PathOf(fd)
	if err != nil {
		return "", err
	}
	root, err := v.sight.PathOf(v.Root)
	if err != nil {
		return "", err
	}
	inside, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
	if !ok || !strings.HasPrefix(inside, "/") {
		return "", unix.ENOENT
	}
	return inside, nil
}

// lasting returns a path by which the thread can find an open file later, without a descriptor of
// its own: an emulator answers /proc/self/exe with it. If there is none, it returns the given
// path.
func (v *View) lasting(fd int, given string) string {
	inside, err := v.Inside(fd)
	if err != nil {
		return given
	}
	byFD := v.ByFD
	defer func() { v.ByFD = byFD }()
	again, errno := v.Find(inside)
	if errno != 0 {
		return given
	}
	defer unix.Close(again)
	if !sameFile(fd, again) {
		return given
	}
	return inside
}

// Leads reports whether an absolute path leads the thread to a file that we have open and that the
// thread may read.
func (v *View) Leads(path string, fd int) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	back := v.sight.assume(v.stance)
	defer back()
	found, st, errno := v.lookUp(path)
	if errno != 0 {
		return false
	}
	defer unix.Close(found)
	return sameFile(found, fd) && v.permits(found, &st, unix.R_OK)
}

// Command returns the directory of a PATH that has a command, "" for none.
func (v *View) Command(path, name string) string {
	for _, dir := range filepath.SplitList(path) {
		if !strings.HasPrefix(dir, "/") {
			continue
		}
		if fd, _, errno := v.lookUp(dir + "/" + name); errno == 0 {
			unix.Close(fd)
			return dir
		}
	}
	return ""
}

// Has reports whether one of the names is in a directory. Nothing is read: a link has the name,
// too.
func (v *View) Has(dir string, names []string) bool {
	if !strings.HasPrefix(dir, "/") && v.toWorkingDirectory() != 0 {
		return false
	}
	fd, errno := v.Find(dir + "/.")
	if errno != 0 {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return slices.ContainsFunc(names, func(name string) bool {
		return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
	})
}

// Head is the beginning of a regular file, empty where there is none that the thread can find.
func (v *View) Head(path string) []byte {
	if !strings.HasPrefix(path, "/") {
		return nil
	}
	back := v.sight.assume(v.stance)
	fd, _, errno := v.lookUp(path)
	back()
	if errno != 0 {
		return nil
	}
	defer unix.Close(fd)
	reader, err := sys.Reopen(v.sight.Self, fd, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil
	}
	defer unix.Close(reader)
	head := make([]byte, resolve.HeadSize)
	n, err := sys.ReadAt(reader, head, 0)
	if err != nil {
		return nil
	}
	return head[:n]
}

func sameFile(a, b int) bool {
	var first, second unix.Stat_t
	return unix.Fstat(a, &first) == nil && unix.Fstat(b, &second) == nil && first.Dev == second.Dev && first.Ino == second.Ino
}

// Find looks path up and returns an O_PATH descriptor. The kernel does this in one call (openat2,
// Linux 5.6) if everything on the way means the same to the tracee and to us: RESOLVE_IN_ROOT
// keeps absolute links in the tracee's root, and refuses magic links of /proc. If it refuses, the
// view walks the path.
func (v *View) Find(path string) (int, syscall.Errno) {
	if path == "" {
		if v.dir < 0 {
			return -1, unix.ENOENT
		}
		fd, err := unix.FcntlInt(uintptr(v.dir), unix.F_DUPFD_CLOEXEC, 0)
		v.ByFD = true
		return fd, errnoOf(err)
	}
	from, flags, resolve := v.lookup(path)
	if !v.sight.walks && !special(path) {
		fd, err := sys.Openat2(from, path, flags, resolve)
		switch err {
		case nil:
			return fd, 0
		case unix.ENOSYS, unix.EPERM:
			v.sight.walks = true
		case unix.ELOOP, unix.EXDEV, unix.EAGAIN:
		default:
			return -1, errnoOf(err)
		}
	}
	return v.walk(path)
}

// lookup returns the arguments of an openat2 that looks path up.
func (v *View) lookup(path string) (from int, flags, resolve uint64) {
	flags = unix.O_PATH
	if !v.Follow {
		flags |= unix.O_NOFOLLOW
	}
	if path[0] != '/' {
		return v.dir, flags, unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS
	}
	return v.Root, flags, unix.RESOLVE_IN_ROOT
}

// special reports paths that may lead through /proc/self, which for us is our own.
func special(path string) bool {
	return strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/dev/")
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return sys.Errno(err)
}
