package sys

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Open is open(2) without a mode, close-on-exec. Unlike with os.Open, only the caller owns the
// descriptor.
func Open(path string, flags int) (fd int, err error) { return Openat(unix.AT_FDCWD, path, flags) }

// Openat is openat(2) without a mode, close-on-exec.
func Openat(dir int, path string, flags int) (fd int, err error) {
	err = Retry(func() error {
		fd, err = unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// Openat2 is openat2(2) (Linux 5.6) without a mode, close-on-exec. resolve are RESOLVE_ flags.
func Openat2(dir int, path string, flags, resolve uint64) (fd int, err error) {
	err = Retry(func() error {
		fd, err = unix.Openat2(dir, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve})
		return err
	})
	return fd, err
}

// Read is read(2).
func Read(fd int, b []byte) (n int, err error) {
	err = Retry(func() error {
		n, err = unix.Read(fd, b)
		return err
	})
	return n, err
}

// Write is write(2).
func Write(fd int, b []byte) (n int, err error) {
	err = Retry(func() error {
		n, err = unix.Write(fd, b)
		return err
	})
	return n, err
}

// ReadAt reads from a file's offset up to the end of b or of the file.
func ReadAt(fd int, b []byte, offset int64) (n int, err error) {
	for n < len(b) {
		m := 0
		err = Retry(func() error {
			m, err = unix.Pread(fd, b[n:], offset+int64(n))
			return err
		})
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

// Reopen opens the file of an O_PATH descriptor. self is a descriptor of /proc/self/fd.
func Reopen(self, fd, flags int) (int, error) {
	return Openat(self, strconv.Itoa(fd), flags)
}

// Access checks a permission on the file of an O_PATH descriptor, by the thread's effective ids;
// for X_OK it also checks that the file's mount lets programs run. Before Linux 5.8, or under a
// filter that does not know the call, it is errors.ErrUnsupported.
func Access(fd int, mode uint32) error {
	err := Retry(func() error { return unix.Faccessat2(fd, "", mode, unix.AT_EACCESS|unix.AT_EMPTY_PATH) })
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return errors.ErrUnsupported
	}
	return err
}

// AccessReal is Access by the process's real ids. self is a descriptor of /proc/self/fd.
func AccessReal(self, fd int, mode uint32) error {
	return Retry(func() error { return unix.Faccessat(self, strconv.Itoa(fd), mode, 0) })
}

// Written reports whether anybody has the file open for writing, so that execve would answer
// ETXTBSY: the kernel then refuses a read lease. It is false where leases do not exist.
func Written(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}

// LetGo makes descriptors lead to /dev/null instead.
func LetGo(fds ...int) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	for _, fd := range fds {
		_ = unix.Dup3(null, fd, 0)
	}
	unix.Close(null)
}

// LetGoInherited gives up the open files that the process inherited, except for stderr, once a
// child has them: a pipe's reader must see the pipe's end when the child closes it. Files that the
// process opened itself are close-on-exec, and stay. self is a descriptor of /proc/self/fd.
func LetGoInherited(self int) {
	LetGo(unix.Stdin, unix.Stdout)
	dir, err := Openat(self, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	list := os.NewFile(uintptr(dir), "/proc/self/fd")
	defer list.Close()
	names, err := list.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd < 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// OwnDescriptor is this process's descriptor that the path names, /proc/self/fd/N or /dev/fd/N; ok
// is false for any other path.
func OwnDescriptor(path string) (fd int, ok bool) {
	number, ok := strings.CutPrefix(path, "/proc/self/fd/")
	if !ok {
		number, ok = strings.CutPrefix(path, "/dev/fd/")
	}
	fd, err := strconv.Atoi(number)
	return fd, ok && err == nil
}

// Inherit makes children inherit the file at the path, if the path is a descriptor of ours, and
// gives the file's path there. Its number is one that none of their own files takes.
func Inherit(path string) string {
	const above = 64
	fd, ok := OwnDescriptor(path)
	if !ok {
		return path
	}
	lent, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, above)
	if err != nil {
		return path
	}
	return "/proc/self/fd/" + strconv.Itoa(lent)
}

// OpenProc gives a descriptor (O_PATH) of a /proc that shows the processes by their numbers here:
// the mounted one, or one that is mounted nowhere (Linux 5.2, with CAP_SYS_ADMIN). A new PID
// namespace has the /proc of the outer one until somebody mounts its own.
func OpenProc() (int, error) {
	why := "is not mounted"
	fd, err := Openat(unix.AT_FDCWD, "/proc", unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err == nil && st.Type == unix.PROC_SUPER_MAGIC {
			var b [16]byte
			if n, err := unix.Readlinkat(fd, "self", b[:]); err == nil && string(b[:n]) == strconv.Itoa(os.Getpid()) {
				return fd, nil
			}
			why = "is of another PID namespace (unshare has --mount-proc)"
		}
		unix.Close(fd)
	}
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("/proc %s, and fsopen(proc): %w", why, err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("/proc %s, and fsconfig(proc): %w", why, err)
	}
	if fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("/proc %s, and fsmount(proc): %w", why, err)
	}
	return fd, nil
}
