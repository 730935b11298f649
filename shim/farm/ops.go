package farm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"binproxy/emu/sys"
)

// Every change of the file system goes through this file. Tests stop the process before each of
// them (step), and take the atomic exchange away (exchange), as file systems do that have none.
var (
	step     = func() {}
	exchange = sys.Exchange
)

func symlink(target, path string) error {
	step()
	return os.Symlink(target, path)
}

func link(from, to string) error {
	step()
	return os.Link(from, to)
}

func rename(from, to string) error {
	step()
	return os.Rename(from, to)
}

func swap(a, b string) error {
	step()
	return exchange(a, b)
}

func mkdir(path string) error {
	step()
	return os.Mkdir(path, 0o755)
}

// remove removes a file, a link or an empty directory; one that is not there is no error.
func remove(path string) error {
	step()
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// setMtime changes the modification time alone.
func setMtime(path string, mtime time.Time) error {
	step()
	return os.Chtimes(path, time.Time{}, mtime)
}

// exists reports whether there is anything under the name, a dangling link too.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// leadsTo reports whether path is a symbolic link with that text.
func leadsTo(path, target string) bool {
	text, err := os.Readlink(path)
	return err == nil && beside(path, text) == target
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
