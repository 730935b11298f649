package check

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"binproxy/emu/oci"
)

// Bounds on what is kept of an ELF file.
const (
	maxELF   = 2 << 30 // bytes
	inMemory = 1 << 20 // up to this size a file is kept in memory, above it in a temporary file
)

// checkStore reads the images of a store.
func checkStore(s *oci.Store, done func(*collector)) error {
	// The platform of an attestation is called unknown.
	linux := func(_ string, p oci.Platform) bool { return p.OS == "" || p.OS == "linux" }
	found := false
	for image, err := range s.Images(linux) {
		if err != nil {
			return err
		}
		found = true
		c := newCollector()
		if err := readLayers(image.Layers, c); err != nil {
			return err
		}
		done(c)
	}
	if !found {
		return errors.New("it holds no image for Linux")
	}
	return nil
}

// checkArchive reads an archive of docker save or of an OCI layout.
func checkArchive(f io.ReaderAt, size int64, done func(*collector)) error {
	s, err := oci.OpenAt(f, size, "")
	if err != nil {
		return err
	}
	defer s.Close()
	return checkStore(s, done)
}

// overlay is what the layers above the current one show. Layers are read from the top, each once.
type overlay struct {
	// names in a higher layer; true if not a directory, and so hiding what is below it
	seen   map[string]bool
	gone   map[string]bool // names that a higher layer removed
	opaque map[string]bool // directories whose lower contents a higher layer hides
}

func newOverlay() overlay {
	return overlay{seen: map[string]bool{}, gone: map[string]bool{}, opaque: map[string]bool{}}
}

// readLayers reads the files that are visible in an image.
func readLayers(layers []oci.Layer, c *collector) error {
	o := newOverlay()
	for _, l := range slices.Backward(layers) {
		// What this layer has hides only what is in lower layers.
		below := newOverlay()
		if err := l.Walk(func(e oci.Entry) error { return o.entry(e, &below, c) }); err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
		o.merge(below)
	}
	return nil
}

func (o *overlay) entry(e oci.Entry, below *overlay, c *collector) error {
	switch e.Kind {
	case oci.Empties:
		below.opaque[e.Path] = true
		return nil
	case oci.Removes:
		below.gone[e.Path] = true
		return nil
	}
	visible := o.visible(e.Path)
	below.seen[e.Path] = e.Typeflag != tar.TypeDir
	if e.Typeflag != tar.TypeReg || !visible || skipped(firstPart(e.Path)) {
		return nil
	}
	return addStream(c, "/"+e.Path, e.Contents, e.Size)
}

func firstPart(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// visible reports whether no higher layer hides a name.
func (o *overlay) visible(name string) bool {
	if _, ok := o.seen[name]; ok || o.gone[name] {
		return false
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if dir == "." {
			return !o.opaque[""]
		}
		if o.gone[dir] || o.opaque[dir] || o.seen[dir] {
			return false
		}
	}
}

func (o *overlay) merge(below overlay) {
	for name, file := range below.seen {
		if _, ok := o.seen[name]; !ok {
			o.seen[name] = file
		}
	}
	for name := range below.gone {
		o.gone[name] = true
	}
	for name := range below.opaque {
		o.opaque[name] = true
	}
}

// addStream gives an ELF file of an archive to the collector, which has to read it at any offset.
func addStream(c *collector, name string, r io.Reader, size int64) error {
	head := make([]byte, min(64, size))
	if _, err := io.ReadFull(r, head); err != nil {
		return fmt.Errorf("%s: damaged archive: %w", name, err)
	}
	if !isELF(head) {
		return nil
	}
	if size > maxELF {
		c.objects = append(c.objects, object{name: name, damage: fmt.Sprintf("%d bytes; the most that is read is %d", size, int64(maxELF))})
		return nil
	}
	whole := io.MultiReader(bytes.NewReader(head), r)
	if size <= inMemory {
		b := make([]byte, size)
		if _, err := io.ReadFull(whole, b); err != nil {
			return fmt.Errorf("%s: damaged archive: %w", name, err)
		}
		return c.add(name, bytes.NewReader(b), size)
	}
	f, err := spool(whole, size)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	return c.add(name, f, size)
}

// spool copies a file of an archive into a temporary file without a name.
func spool(r io.Reader, size int64) (*os.File, error) {
	f, err := os.CreateTemp("", "binproxy-check-")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	if _, err := io.CopyN(f, r, size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
