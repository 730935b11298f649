package twin

import (
	"os"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// RootFD is a Root by a descriptor of its directory.
type RootFD int

// Open opens a file for reading. What is no regular file is opened too, but never waited for.
func (fd RootFD) Open(name string) (*os.File, error) {
	file, err := sys.Openat2(int(fd), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(file), name), nil
}

// OpenRoot is the Root of a directory; close ends it.
func OpenRoot(dir string) (root RootFD, close func(), err error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return RootFD(fd), func() { unix.Close(fd) }, nil
}
