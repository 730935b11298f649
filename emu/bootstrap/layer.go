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

// unpackLayers applies the layers one over the other. Whatever they hold, nothing outside the root
// is read or written: all of it goes through an os.Root, and links in the way are followed as if
// the root were "/".
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
	fresh   map[string]bool // what this layer made: a whiteout of it is none
	dirs    []stamped       // times of directories, which what is made in them changes
	total   int64           // entries of all layers
	devices int
}

// stamped is a directory and its time. The header is not kept: it may hold a MiB of what nobody
// asked for.
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

// markFresh notes the file and the directories that lead to it.
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

// empty removes what layers below have put into the directory.
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

// makeDirs gives the directory without links in it, relative to the root, making what is missing.
// A link in the way is followed inside the root, also an absolute one; a file in the way is
// replaced.
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
