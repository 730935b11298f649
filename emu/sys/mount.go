package sys

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is mount(2). The error names operation, source, place and flags.
func Mount(source, at, kind string, flags uintptr, data string) error {
	err := Retry(func() error { return unix.Mount(source, at, kind, flags, data) })
	if err != nil {
		return &os.PathError{Op: fmt.Sprintf("mount %s (type %q, %s) on", source, kind, mountFlags(flags)), Path: at, Err: err}
	}
	return nil
}

// mountFlagNames has the flags that we use, for errors.
var mountFlagNames = [...]struct {
	bit  uintptr
	name string
}{
	{unix.MS_RDONLY, "ro"}, {unix.MS_NOSUID, "nosuid"}, {unix.MS_NODEV, "nodev"}, {unix.MS_NOEXEC, "noexec"}, {unix.MS_REMOUNT, "remount"},
	{unix.MS_BIND, "bind"}, {unix.MS_REC, "rec"}, {unix.MS_PRIVATE, "private"}, {unix.MS_SLAVE, "slave"}, {unix.MS_SHARED, "shared"},
}

func mountFlags(flags uintptr) string {
	var names []string
	for _, f := range mountFlagNames {
		if flags&f.bit != 0 {
			names = append(names, f.name)
			flags &^= f.bit
		}
	}
	if flags != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(names, ",")
}

// Bind makes the file or directory at source appear at the place, with all mounts below it.
func Bind(source, at string) error { return Mount(source, at, "", unix.MS_BIND|unix.MS_REC, "") }

// MakePrivate cuts the mount at the place, and all below it, off from every other namespace:
// mounts and unmounts there do not appear elsewhere.
func MakePrivate(at string) error { return Mount("none", at, "", unix.MS_REC|unix.MS_PRIVATE, "") }

// Detach unmounts the mount at the place, which ends when nothing uses it any more (MNT_DETACH).
// It never follows a link at the end.
func Detach(at string) error {
	err := Retry(func() error { return unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) })
	if err != nil {
		return &os.PathError{Op: "unmount", Path: at, Err: err}
	}
	return nil
}

// PivotHere makes the current directory, which is a mount, the root of this mount namespace, and
// detaches the old root. Since new and old root use the same directory, nothing has to exist in it
// (pivot_root(2), "pivot_root(".", ".")").
func PivotHere() error {
	if err := Retry(func() error { return unix.PivotRoot(".", ".") }); err != nil {
		return &os.SyscallError{Syscall: "pivot_root", Err: err}
	}
	// Both are at "/" now, the old root on top.
	if err := Detach("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

// OpenIn opens path below the directory, as if the directory were the root: neither links,
// absolute ones too, nor ".." lead out of it (openat2 with RESOLVE_IN_ROOT, Linux 5.6 and later).
func OpenIn(root *os.File, path string, flags int) (*os.File, error) {
	var fd int
	err := Retry(func() (err error) {
		fd, err = unix.Openat2(int(root.Fd()), path, &unix.OpenHow{
			Flags:   uint64(flags) | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open in " + root.Name(), Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), root.Name()+"/"+strings.TrimPrefix(path, "/")), nil
}

// FDPath is the path by which this thread names an open file to the kernel. In a root without
// /proc there is none but the name that the file was opened by.
func FDPath(f *os.File) string {
	path := fmt.Sprintf("/proc/thread-self/fd/%d", f.Fd())
	if _, err := os.Lstat(path); err != nil {
		return f.Name()
	}
	return path
}

// Memory is a file in memory with those contents, which can be executed through /proc/self/fd.
func Memory(name string, contents []byte) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	// before Linux 6.3, where there is no MFD_EXEC and every such file is executable
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(contents); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Seal prevents any change to the contents of a file that Memory made.
func Seal(f *os.File) error {
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
}

// OwnMount makes the directory a private mount of its own: mounts in it appear in no other
// namespace.
func OwnMount(dir string) error {
	if err := Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return Mount("none", dir, "", unix.MS_PRIVATE, "")
}

// IsMount reports whether a mount begins at the path.
func IsMount(path string) (bool, error) {
	var st unix.Statx_t
	err := Retry(func() error { return unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st) })
	if err != nil {
		return false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// SetXattr sets an extended attribute of an open file.
func SetXattr(f *os.File, name, value string) error {
	if err := Retry(func() error { return unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0) }); err != nil {
		return &os.PathError{Op: "fsetxattr " + name, Path: f.Name(), Err: err}
	}
	return nil
}
