package oci

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Layer is one archive of changes.
type Layer struct {
	Name string // its path in the image
	open func() (*blob, error)
	work *work
	// whether its size counts, because it is a file of its own
	counts bool
}

// Digest is the layer's digest, or its name if that promises none.
func (l Layer) Digest() string { return cmp.Or(digestOf(path.Clean(l.Name)), l.Name) }

// Whole is an archive as the only layer of an image, as docker export and tar write it.
func (s *Store) Whole(name string) Layer {
	return Layer{Name: name, open: func() (*blob, error) {
		r := io.NewSectionReader(s.archive, 0, s.archive.Size())
		return &blob{io.NopCloser(r), name, r.Size(), nil}, nil
	}, work: &work{packed: s.packed}}
}

// Kind is what an entry does to the layers below.
type Kind int

// These are an entry's effects on the layers below (OCI image specification, layer): a file
// .wh.NAME removes NAME, and .wh..wh..opq removes everything in its directory.
const (
	Adds Kind = iota
	Removes
	Empties
)

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// Entry is one change of a layer.
type Entry struct {
	*tar.Header
	Kind Kind
	// what is added, removed or emptied: without a leading slash, "" for the root
	Path     string
	Contents io.Reader
}

// work is what the layers of one image have required so far.
type work struct {
	kept   int64 // about how much is kept of the entries
	bytes  int64
	packed int64 // the size of the image in the store
}

// These are bounds on the layers of an image: layers may be as large as a disk, but what is kept
// of them must fit into memory. A real image's names are smaller than its packed layers; those of
// an image of empty files are a few times as large.
const (
	keptOfEach  = 64 // beside its name
	keptFreely  = 32 << 20
	keptOfAByte = 16 // for each packed byte
	maxKept     = 512 << 20
)

// Walk hands out the layer's entries in order. If it returns nil, it has read the whole layer, and
// the digest is right. If a damaged layer leads to other errors as well, Walk returns the one for
// the wrong digest.
func (l Layer) Walk(visit func(Entry) error) error {
	b, err := l.open()
	if err != nil {
		return err
	}
	defer b.Close()
	if l.counts {
		l.work.packed += b.size
	}
	err = l.walk(b, visit)
	if wrong := b.verify(); wrong != nil {
		return wrong
	}
	return err
}

func (l Layer) walk(b *blob, visit func(Entry) error) error {
	stream, err := decompress(b)
	if err != nil {
		return err
	}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if large := (tooLarge{}); errors.As(err, &large) {
			return large
		}
		if err != nil {
			return fmt.Errorf("damaged archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		e, err := entry(h, r)
		if err == nil {
			err = l.work.add(e)
		}
		if err != nil {
			return err
		}
		if err := visit(e); err != nil {
			return err
		}
	}
}

// entry returns the change that a header describes.
func entry(h *tar.Header, contents io.Reader) (Entry, error) {
	name, err := cleanName(h.Name)
	if err == nil && h.Typeflag == tar.TypeLink {
		_, err = cleanName(h.Linkname)
	}
	e := Entry{h, Adds, name, contents}
	if err != nil {
		return e, err
	}
	dir, base := path.Split(name)
	hidden, ok := strings.CutPrefix(base, whiteout)
	switch {
	case base == opaque:
		e.Kind, e.Path = Empties, strings.TrimSuffix(dir, "/")
	case !ok:
	case hidden == "" || hidden == "." || hidden == "..":
		return e, fmt.Errorf("entry %q is a whiteout of nothing", h.Name)
	default:
		e.Kind, e.Path = Removes, dir+hidden
	}
	return e, nil
}

func (w *work) add(e Entry) error {
	w.kept += keptOfEach + int64(len(e.Path))
	w.bytes += min(e.Size, maxUnpacked+1) // which cannot overflow
	switch {
	case w.kept > min(maxKept, keptFreely+keptOfAByte*w.packed):
		return fmt.Errorf("the image has more files, or longer names, than one of %d bytes has", w.packed)
	case w.bytes > maxUnpacked:
		return tooLarge{}
	}
	return nil
}
