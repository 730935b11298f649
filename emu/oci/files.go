package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// files are the files of an image, by their paths in it.
type files interface {
	open(name string) (r io.ReadCloser, size int64, err error)
}

// dirFiles are in a directory; os.Root keeps every path inside.
type dirFiles struct{ root *os.Root }

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	// A pipe in a file's place must not be waited for.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// archiveFiles are files in an archive.
type archiveFiles struct {
	archive io.ReaderAt
	places  map[string]place
}

// place is where a file's content is, or the file that it is a link to.
type place struct {
	offset, size int64
	link         string
}

const (
	maxFiles = 1 << 16 // of an image in an archive
	maxNames = 8 << 20 // bytes of their names
	maxLinks = 8       // in one chain
)

func (a archiveFiles) open(name string) (io.ReadCloser, int64, error) {
	p, ok := a.places[path.Clean(name)]
	for links := 0; ok && p.link != ""; links++ {
		if links == maxLinks {
			return nil, 0, fmt.Errorf("%s: more than %d links in a row", name, maxLinks)
		}
		p, ok = a.places[p.link]
	}
	if !ok {
		return nil, 0, fmt.Errorf("%s: %w in the archive", name, fs.ErrNotExist)
	}
	return io.NopCloser(io.NewSectionReader(a.archive, p.offset, p.size)), p.size, nil
}

// indexArchive records where the files of an archive begin. It reads the archive once and skips
// the files.
func indexArchive(archive *io.SectionReader) (archiveFiles, error) {
	a := archiveFiles{archive, map[string]place{}}
	names := 0
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return a, fmt.Errorf("damaged archive: %w", err)
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return a, err
		}
		switch names += len(name) + len(h.Linkname); {
		case len(a.places) == maxFiles:
			return a, fmt.Errorf("%w: an archive of more than %d files is no image", ErrNoImage, maxFiles)
		case names > maxNames:
			return a, fmt.Errorf("%w: an archive of more than %d MiB of names is no image", ErrNoImage, maxNames>>20)
		}
		offset, err := archive.Seek(0, io.SeekCurrent)
		if err != nil {
			return a, err
		}
		a.note(name, h, offset)
	}
}

// note records a file or a link. Older docker save links a layer that occurs twice to its first
// copy. A link that leads out of the archive belongs to a root, and to no file of an image.
func (a archiveFiles) note(name string, h *tar.Header, offset int64) {
	to := h.Linkname
	switch h.Typeflag {
	case tar.TypeReg:
		a.places[name] = place{offset: offset, size: h.Size}
		return
	case tar.TypeSymlink:
		if path.IsAbs(to) {
			return
		}
		to = path.Join(path.Dir(name), to)
	case tar.TypeLink:
	default:
		return
	}
	if to, err := cleanName(to); err == nil && to != "" {
		a.places[name] = place{link: to}
	}
}

// maxName is the longest path that the kernel accepts (PATH_MAX).
const maxName = 4096

// cleanName is an entry's path without leading and trailing slashes; "" is the root. It refuses a
// name that leads out.
func cleanName(name string) (string, error) {
	switch {
	case len(name) > maxName:
		return "", fmt.Errorf("an entry with a name of %d bytes", len(name))
	case strings.Contains(name, "\x00"):
		return "", fmt.Errorf("an entry called %q", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("entry %q leads out of the archive", name)
		}
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// Open is OpenAt for a file. A file without random access, such as a pipe, is copied first.
func Open(f *os.File, temp string) (*Store, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().IsRegular() {
		return OpenAt(f, fi.Size(), temp)
	}
	return openSpooled(f, temp)
}

// OpenAt opens an archive. It unpacks a compressed one to an unnamed file in the directory temp
// ("" for the system's own), which Close releases.
func OpenAt(archive io.ReaderAt, size int64, temp string) (*Store, error) {
	whole := io.NewSectionReader(archive, 0, size)
	head, err := peek(io.NewSectionReader(archive, 0, size))
	if err != nil {
		return nil, err
	}
	if compression(head) == "" {
		return newStore(whole, size, keep)
	}
	return openSpooled(whole, temp)
}

func keep() error { return nil }

func openSpooled(archive io.Reader, temp string) (*Store, error) {
	packed := &counted{Reader: archive}
	stream, err := decompress(packed)
	if err != nil {
		return nil, err
	}
	f, size, err := spool(stream, temp)
	if err != nil {
		return nil, err
	}
	s, err := newStore(io.NewSectionReader(f, 0, size), packed.bytes, f.Close)
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// newStore indexes an archive. An archive that is no image is a store as well: it can be Whole.
func newStore(archive *io.SectionReader, packed int64, end func() error) (*Store, error) {
	a, err := indexArchive(archive)
	if errors.Is(err, ErrNoImage) {
		return &Store{noFiles{err}, archive, packed, end}, nil
	}
	return &Store{a, archive, packed, end}, err
}

// noFiles are the files of an archive that is no image.
type noFiles struct{ why error }

func (n noFiles) open(string) (io.ReadCloser, int64, error) { return nil, 0, n.why }

// spool copies a stream into an unnamed file.
func spool(r io.Reader, temp string) (*os.File, int64, error) {
	f, err := os.CreateTemp(temp, ".binproxy-image-")
	if err != nil {
		return nil, 0, err
	}
	var n int64
	if err = os.Remove(f.Name()); err == nil {
		n, err = io.Copy(f, r)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, n, nil
}
