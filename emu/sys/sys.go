// Package sys makes the system calls that package unix alone does not make right.
//
// Only this package and the standard library make these calls:
//
//   - calls that golang.org/x/sys/unix has no function for: by number, with unsafe (in files named
//     *_unsafe.go) or in assembly;
//   - calls that may wait, for a file system, a device, a socket, a child or a lock. Any signal
//     with
//     a handler interrupts them, and the Go runtime sends itself signals at any time. They start
//     again after EINTR: by a function of this package, by Retry, or by package os;
//   - mounts, whose errno can mean a dozen things: the error says what, where, with which flags.
//
// All other calls (stat, fcntl, ioctl, prctl, ids and the like) answer at once, and their errno
// says what was wrong: code calls them by package unix. Closing is one of them: after EINTR the
// descriptor is closed, and may be somebody else's by the time of a second try.
package sys

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exec replaces the process by path, and returns only if that fails. It ignores again the signals
// that were ignored at binproxy's start, and closes the standard descriptors that were closed
// then, so that a shim in the middle leaves no trace.
func Exec(path string, argv, env []string) error {
	for fd := range 3 {
		if WasClosed(fd) {
			unix.CloseOnExec(fd)
		}
	}
	DefaultSignals()
	KeepIgnored()
	if err := syscall.Exec(path, argv, env); err != nil {
		return &os.PathError{Op: "exec", Path: path, Err: err}
	}
	return nil
}

// KeepIgnored ignores again the signals that were ignored at the program's start.
func KeepIgnored() {
	for n := 1; n <= 64; n++ {
		if ignored&(1<<(n-1)) != 0 {
			signal.Ignore(syscall.Signal(n))
		}
	}
}

// WasClosed reports whether the descriptor (0, 1 or 2) was closed at the program's start. It has
// been /dev/null since.
func WasClosed(fd int) bool { return closed&(1<<fd) != 0 }

// StartState is the inherited state that the Go runtime has hidden: the ignored signals (bit N-1
// for signal N) and the closed descriptors (bit N).
func StartState() (ignoredSignals, closedDescriptors uint64) { return ignored, closed }

// SetStartState makes Exec pass on another process's start state.
func SetStartState(ignoredSignals, closedDescriptors uint64) {
	ignored, closed = ignoredSignals, closedDescriptors
}

// Uname calls uname(2): sysname, nodename, release, version, machine.
func Uname() (fields [5]string, err error) {
	var uts unix.Utsname
	if err := Retry(func() error { return unix.Uname(&uts) }); err != nil {
		return fields, os.NewSyscallError("uname", err)
	}
	for i, field := range [...][]byte{uts.Sysname[:], uts.Nodename[:], uts.Release[:], uts.Version[:], uts.Machine[:]} {
		fields[i] = unix.ByteSliceToString(field)
	}
	return fields, nil
}

// Exchange swaps the names a and b in one step (renameat2 with RENAME_EXCHANGE). It is
// errors.ErrUnsupported if the file system or the kernel (before 3.15) cannot do that.
func Exchange(a, b string) error {
	err := Retry(func() error { return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

// Executable is nil if the process may execute the file, by its effective ids; else the errno.
func Executable(path string) error {
	return Retry(func() error { return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS) })
}

// Writable is nil if the process may change the entries of the directory, by its effective ids and
// by the directory's mount.
func Writable(dir string) error {
	if err := Retry(func() error { return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS) }); err != nil {
		return &os.PathError{Op: "write in", Path: dir, Err: err}
	}
	return nil
}

// Retry makes a call, which gives the plain errno, until no signal interrupts it.
//
//go:noinline
func Retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// ReadExecutable checks that execve would load the file at path (a regular file that the process
// may execute) and reads its first n bytes. It never blocks: it refuses a file that is not regular
// before opening it.
func ReadExecutable(path string, n int) ([]byte, syscall.Errno) {
	var st unix.Stat_t
	if err := Retry(func() error { return unix.Stat(path, &st) }); err != nil {
		return nil, Errno(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, syscall.EACCES
	}
	if err := Executable(path); err != nil {
		return nil, Errno(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, Errno(err)
	}
	defer unix.Close(fd)
	head := make([]byte, n)
	got := 0
	for got < n {
		m, err := unix.Pread(fd, head[got:], int64(got))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, Errno(err)
		}
		if m == 0 {
			break
		}
		got += m
	}
	return head[:got], 0
}

// Errno is the errno in err, EIO if there is none.
func Errno(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.EIO
}

// SetModTime sets the access and modification time of path itself, even of a symbolic link.
func SetModTime(path string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	err := Retry(func() error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return &os.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}

// LeadsGroup reports whether a thread is the first one of its process.
func LeadsGroup(tid int) bool { return unix.Tgkill(tid, tid, 0) != unix.ESRCH }

// Separate reports whether a thread is there and is none of the leader's process.
func Separate(leader, tid int) bool {
	return unix.Tgkill(leader, tid, 0) == unix.ESRCH && !Gone(SendThread(tid, 0))
}
