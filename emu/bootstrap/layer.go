package bootstrap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"binproxy/emu/oci"
)

// unpackLayers applies the layers one over the other. Whatever they contain, nothing outside the
// root is read or written: everything goes through an os.Root, and links in the way are followed
// as if the root were "/".
func unpackLayers(dir string, layers []oci.Layer, progress io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := unpacker{root: root}
	for n, l := range layers {
		fmt.Fprintf(progress, "binproxy: unpacking layer %d of %d, %.19s\n", n+1, len(layers), l.Digest())
		if err := u.apply(l); err != nil {
			return fmt.Errorf("layer %.19s: %w", l.Digest(), err)
		}
	}
	if u.devices > 0 {
		fmt.Fprintf(progress, "binproxy: %d device nodes left out; a container has the host's /dev\n", u.devices)
	}
	if u.total == 0 {
		return errors.New("there is nothing in it")
	}
	return u.setTimes()
}

type unpacker struct {
	root    *os.Root
	fresh   map[string]bool // what this layer made: its own whiteouts do not apply to that
	dirs    []stamped       // times of directories, which change when an entry is made in them
	total   int64           // entries of all layers
	devices int
}

// stamped is a directory and its time. The header is not kept: it may contain a MiB of useless
// data.
type stamped struct {
	name string
	time time.Time
}

func (u *unpacker) apply(l oci.Layer) error {
	u.fresh = map[string]bool{}
	return l.Walk(func(e oci.Entry) error {
		u.total++
		if err := u.entry(e); err != nil {
			return fmt.Errorf("%q: %w", e.Name, err)
		}
		return nil
	})
}

// entry applies one entry of a layer.
func (u *unpacker) entry(e oci.Entry) error {
	if e.Kind == oci.Empties {
		dir, err := u.makeDirs(e.Path)
		if err != nil {
			return err
		}
		return u.empty(dir)
	}
	dir, base := path.Split(e.Path)
	dir, err := u.makeDirs(dir)
	if err != nil {
		return err
	}
	at := path.Join(dir, base)
	switch {
	case e.Kind == oci.Removes:
		return u.remove(at)
	case base == "":
		return u.attributes(".", e.Header) // the root itself
	}
	u.markFresh(at)
	return u.make(at, e.Header, e.Contents)
}

// markFresh records the file and the directories that lead to it.
func (u *unpacker) markFresh(name string) {
	for ; name != "." && !u.fresh[name]; name = path.Dir(name) {
		u.fresh[name] = true
	}
}

func (u *unpacker) remove(name string) error {
	if u.fresh[name] {
		return nil
	}
	return u.root.RemoveAll(name)
}

// empty removes what lower layers have put into the directory.
func (u *unpacker) empty(dir string) error {
	d, err := u.root.Open(dir)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	for _, name := range names {
		at := path.Join(dir, name)
		if !u.fresh[at] {
			if err := u.root.RemoveAll(at); err != nil {
				return err
			}
		} else if fi, err := u.root.Lstat(at); err == nil && fi.IsDir() {
			if err := u.empty(at); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// makeDirs returns the directory without links in it, relative to the root, and makes what is
// missing. It follows a link in the way inside the root, also an absolute one, and replaces a file
// in the way.
func (u *unpacker) makeDirs(dir string) (string, error) {
	rest := strings.Split(strings.Trim(dir, "/"), "/")
	at, links := ".", 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		fi, err := u.root.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := u.root.Mkdir(next, 0o755); err != nil {
				return "", err
			}
		case err != nil:
			return "", err
		case fi.Mode().Type() == fs.ModeSymlink:
			leads, err := u.root.Readlink(next)
			if links++; err != nil || links > maxLinks {
				return "", errors.Join(err, fmt.Errorf("%s: too many symbolic links", dir))
			}
			if path.IsAbs(leads) {
				at = "."
			}
			rest = append(strings.Split(leads, "/"), rest...)
			continue
		case !fi.IsDir():
			if err := u.root.Remove(next); err != nil {
				return "", err
			}
			if err := u.root.Mkdir(next, 0o755); err != nil {
				return "", err
			}
		}
		at = next
	}
	return at, nil
}
