package packages

import (
	"bufio"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Root shows the files of a root directory as seen from inside: an absolute symbolic link stays in
// it.
type Root interface {
	Open(name string) (*os.File, error)
}

// RootFD is a Root by a descriptor of its directory.
type RootFD int

// Open opens a file for reading. It also opens files that are not regular, but never waits for
// one.
func (fd RootFD) Open(name string) (*os.File, error) {
	file, err := sys.Openat2(int(fd), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(file), name), nil
}

// OpenRoot is the Root of a directory; close ends it.
func OpenRoot(dir string) (root RootFD, close func(), err error) {
	fd, err := sys.Open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return RootFD(fd), func() { unix.Close(fd) }, nil
}

// FirstLine finds the first line of a file for which is returns true.
func FirstLine(root Root, name string, is func(string) bool) (string, bool) {
	f, err := root.Open(name)
	if err != nil {
		return "", false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if is(lines.Text()) {
			return lines.Text(), true
		}
	}
	return "", false
}

// openFirst opens the first of the files that exists, and gives its name.
func openFirst(root Root, names []string) (f *os.File, name string, err error) {
	for _, name = range names {
		if f, err = root.Open(name); err == nil || !missing(err) {
			return f, name, err
		}
	}
	return nil, "", err
}

// aliases are the names that a path may have in a package's list: /bin and similar directories may
// be links to those in /usr.
func aliases(file string) []string {
	if short, ok := strings.CutPrefix(file, "/usr"); ok {
		return []string{file, short}
	}
	return []string{file, path.Join("/usr", file)}
}
