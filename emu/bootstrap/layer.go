package bootstrap

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// layer is one archive of changes. open may be called once; a reader that is an io.Closer is closed.
type layer struct {
	name string
	open func() (io.Reader, error)
}

// unpackLayers applies the layers one over the other. Whatever they hold, nothing outside the root is read or written: all of it goes through an
// os.Root, and links in the way are followed as if the root were "/".
func unpackLayers(dir string, layers []layer, progress io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := unpacker{root: root}
	for n, l := range layers {
		fmt.Fprintf(progress, "binproxy: unpacking layer %d of %d, %.19s\n", n+1, len(layers), l.name)
		if err := u.apply(l); err != nil {
			return fmt.Errorf("layer %.19s: %w", l.name, err)
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
	bytes   int64
	devices int
}

type stamped struct {
	name   string
	header *tar.Header
}

// Whiteouts, as OCI's image layers have them: a file .wh.NAME removes NAME of the layers below, and .wh..wh..opq all that is in the directory.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

func (u *unpacker) apply(l layer) error {
	stream, err := l.open()
	if err != nil {
		return err
	}
	if c, ok := stream.(io.Closer); ok {
		defer c.Close()
	}
	r, err := decompress(stream)
	if err != nil {
		return err
	}
	u.fresh = map[string]bool{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if u.total++; u.total > maxEntries {
			return fmt.Errorf("the image has more than %d entries", maxEntries)
		}
		if u.bytes += h.Size; u.bytes > maxImage {
			return fmt.Errorf("the image unpacks to more than %d GiB", maxImage>>30)
		}
		if err := u.entry(h, tr); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// entry applies one entry of a layer.
func (u *unpacker) entry(h *tar.Header, contents io.Reader) error {
	name := path.Clean("/" + h.Name)
	if strings.Contains(h.Name, "\x00") || len(h.Name) > unix.PathMax {
		return errors.New("no name for a file")
	}
	if slices.Contains(strings.Split(h.Name, "/"), "..") {
		return errors.New("the name leads upwards; an image's never does")
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	dir, base := path.Split(name)
	dir, err := u.makeDirs(dir)
	if err != nil {
		return err
	}
	if base == "" {
		return u.attributes(".", h) // the root itself
	}
	if base == opaque {
		return u.empty(dir)
	}
	if hidden, ok := strings.CutPrefix(base, whiteout); ok {
		return u.remove(path.Join(dir, hidden), hidden)
	}
	at := path.Join(dir, base)
	u.markFresh(at)
	return u.make(at, h, contents)
}

// markFresh notes the file and the directories that lead to it.
func (u *unpacker) markFresh(name string) {
	for ; name != "." && !u.fresh[name]; name = path.Dir(name) {
		u.fresh[name] = true
	}
}

func (u *unpacker) remove(name, hidden string) error {
	if hidden == "" || hidden == "." || hidden == ".." {
		return errors.New("a whiteout of nothing")
	}
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

// makeDirs gives the directory without links in it, relative to the root, making what is missing. A link in the way is followed inside the root, also an
// absolute one; a file in the way is replaced.
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
