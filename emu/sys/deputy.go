package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Enter enters a namespace, by its file, which was open when the deputy was sent.
func (d *Deputy) Enter(namespace *os.File) error {
	_, err := d.call(unix.SYS_SETNS, namespace.Fd(), 0)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w: it belongs to another user", err)
	}
	return os.NewSyscallError("setns", err)
}

// Become becomes another user, for good, with those groups and no others. The error names the
// call.
func (d *Deputy) Become(uid, gid int, groups []int) error {
	list, at, err := d.take(4 * len(groups))
	if err != nil {
		return err
	}
	for i, g := range groups {
		binary.NativeEndian.PutUint32(list[4*i:], uint32(g))
	}
	if _, err := d.call(sysSetgroups, uintptr(len(groups)), at); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if _, err := d.call(sysSetresgid, uintptr(gid), uintptr(gid), uintptr(gid)); err != nil {
		return os.NewSyscallError("setresgid", err)
	}
	_, err = d.call(sysSetresuid, uintptr(uid), uintptr(uid), uintptr(uid))
	return os.NewSyscallError("setresuid", err)
}

// Guard keeps the deputy's rights permitted, though not effective, when it becomes another user:
// so that user may not trace it.
func (d *Deputy) Guard() error {
	_, err := d.call(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1)
	return os.NewSyscallError("prctl", err)
}

// Openat2 has the deputy open a file, as the function Openat2 does, and gives a descriptor of ours
// and what the deputy sees of the file. It takes Linux 5.6 and CAP_SYS_PTRACE.
func (d *Deputy) Openat2(dir int, path string, flags, resolve uint64) (fd int, st unix.Statx_t, err error) {
	theirs, err := d.openat2(dir, path, flags, resolve)
	if err == nil {
		st, err = d.statx(theirs, "", unix.AT_EMPTY_PATH)
	}
	if err != nil {
		return -1, st, err
	}
	process, err := unix.PidfdOpen(d.pid, 0)
	if err != nil {
		return -1, st, err
	}
	defer unix.Close(process)
	fd, err = unix.PidfdGetfd(process, int(theirs), 0)
	return fd, st, err
}

func (d *Deputy) openat2(dir int, path string, flags, resolve uint64) (uintptr, error) {
	name, err := d.text(path)
	if err != nil {
		return 0, err
	}
	how, at, err := structure[unix.OpenHow](d)
	if err != nil {
		return 0, err
	}
	*how = unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	return d.call(unix.SYS_OPENAT2, uintptr(dir), name, at, unix.SizeofOpenHow)
}

// pathCall makes a call whose second argument is a path; the first is the directory that it starts
// from.
func (d *Deputy) pathCall(name string, nr uintptr, path string, rest ...uintptr) (uintptr, error) {
	at, err := d.text(path)
	r := uintptr(0)
	if err == nil {
		r, err = d.call(nr, append([]uintptr{here, at}, rest...)...)
	}
	if err != nil {
		return 0, &os.PathError{Op: name, Path: path, Err: err}
	}
	return r, nil
}

// here is AT_FDCWD as a call's argument.
const here = ^uintptr(-unix.AT_FDCWD - 1)

// Open opens a file to be read by the deputy, and nothing else: a device may do something when it
// is opened, and a FIFO wait for another process.
func (d *Deputy) Open(path string) (io.ReadCloser, error) {
	mode, _, err := d.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	fd, err := d.pathCall("open", unix.SYS_OPENAT, path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	return &deputyFile{d, fd, path}, err
}

type deputyFile struct {
	d    *Deputy
	fd   uintptr
	path string
}

func (f *deputyFile) Read(b []byte) (int, error) {
	from, at, err := f.d.take(min(len(b), 64<<10))
	if err != nil {
		return 0, err
	}
	n, err := f.d.call(unix.SYS_READ, f.fd, at, uintptr(len(from)))
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: f.path, Err: err}
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return copy(b, from[:n]), nil
}

func (f *deputyFile) Close() error {
	_, err := f.d.call(unix.SYS_CLOSE, f.fd)
	return err
}

// Stat gives the type, the permissions and the identity of the file at the path. It follows links.
func (d *Deputy) Stat(path string) (mode uint16, is FileIdentity, err error) {
	st, err := d.statx(here, path, 0)
	if err != nil {
		return 0, is, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Mode, identityOf(&st), nil
}

func (d *Deputy) statx(dir uintptr, path string, flags uintptr) (st unix.Statx_t, err error) {
	at, err := d.text(path)
	if err != nil {
		return st, err
	}
	result, to, err := structure[unix.Statx_t](d)
	if err == nil {
		_, err = d.call(unix.SYS_STATX, dir, at, flags, unix.STATX_BASIC_STATS, to)
	}
	if err != nil {
		return st, err
	}
	return *result, nil
}

// FileIdentity distinguishes a file from all others that exist at the same time.
type FileIdentity struct {
	Major, Minor uint32
	Inode        uint64
}

func identityOf(st *unix.Statx_t) FileIdentity {
	return FileIdentity{st.Dev_major, st.Dev_minor, st.Ino}
}

// Identify gives the identity of the file at the path. It follows links.
func Identify(path string) (FileIdentity, error) {
	var st unix.Statx_t
	if err := Retry(func() error { return unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO, &st) }); err != nil {
		return FileIdentity{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return identityOf(&st), nil
}

// Executable is nil where the deputy may execute the file.
func (d *Deputy) Executable(path string) error {
	_, err := d.pathCall("execute", unix.SYS_FACCESSAT, path, unix.X_OK)
	return err
}

// KeepOpen keeps a descriptor, which was open when the deputy was sent, open in what the deputy
// executes.
func (d *Deputy) KeepOpen(fd int) error {
	_, err := d.call(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, 0)
	return os.NewSyscallError("fcntl", err)
}

// Chdir changes the deputy's directory.
func (d *Deputy) Chdir(path string) error {
	at, err := d.text(path)
	if err == nil {
		_, err = d.call(unix.SYS_CHDIR, at)
	}
	if err != nil {
		return &os.PathError{Op: "chdir", Path: path, Err: err}
	}
	return nil
}

// Exec replaces the deputy by a program, as the function Exec does, and gives its process id.
// After that the deputy can do nothing more.
func (d *Deputy) Exec(path string, argv, env []string) (int, error) {
	if d.pid == 0 {
		return 0, Exec(path, argv, env)
	}
	return d.exec(path, unix.SYS_EXECVE, argv, env, path)
}

// ExecFile is Exec for a program by its file, which was open when the deputy was sent. No path has
// to lead to the file where the deputy is.
func (d *Deputy) ExecFile(f *os.File, argv, env []string) (int, error) {
	return d.exec(f.Name(), unix.SYS_EXECVEAT, argv, env, "", f.Fd())
}

func (d *Deputy) exec(name string, nr uintptr, argv, env []string, path string, dir ...uintptr) (int, error) {
	err := d.restoreStart()
	if err == nil {
		err = d.execve(nr, argv, env, path, dir)
	}
	if err != nil && !errors.Is(err, ErrGone) {
		return 0, &os.PathError{Op: "exec", Path: name, Err: err}
	}
	return d.Release(), nil
}

func (d *Deputy) execve(nr uintptr, argv, env []string, path string, dir []uintptr) error {
	args := make([]uintptr, 3, 5)
	var err error
	if args[0], err = d.text(path); err != nil {
		return err
	}
	if args[1], err = d.vector(argv); err != nil {
		return err
	}
	if args[2], err = d.vector(env); err != nil {
		return err
	}
	if len(dir) > 0 {
		args = append(dir, args[0], args[1], args[2], unix.AT_EMPTY_PATH)
	}
	_, err = d.call(nr, args...)
	return err
}

// restoreStart restores for the deputy what the Go runtime has changed since the program's start:
// the limit of open files, and standard files that were closed.
func (d *Deputy) restoreStart() error {
	for fd := range 3 {
		if WasClosed(fd) {
			if _, err := d.call(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
				return err
			}
		}
	}
	if nofile[1] == 0 {
		return nil
	}
	limit, at, err := structure[unix.Rlimit](d)
	if err != nil {
		return err
	}
	limit.Cur, limit.Max = nofile[0], nofile[1]
	_, err = d.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, at, 0)
	return err
}

// Recall ends a deputy that will execute nothing.
func (d *Deputy) Recall() {
	if pid := d.Release(); pid != 0 && !d.lost {
		_ = Retry(func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err })
	}
}

// Release gives up a deputy, and returns the process id to wait for; 0 if it is the calling
// thread.
func (d *Deputy) Release() int {
	pid := d.pid
	if pid != 0 {
		closeFDs([]int{d.order, d.reply})
	}
	_ = unix.Munmap(d.room)
	d.pid, d.room = 0, nil
	return pid
}
