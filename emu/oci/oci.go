// Package oci reads container images: OCI layouts, and archives of docker save and docker export,
// plain or compressed.
//
// A layout is files by path (files.go): a directory, or an archive of which only the positions of
// its files are recorded. index.json, or docker's manifest.json, leads to images, an image to its
// layers. A blob that is named by its digest is hashed while it is read; a wrong digest is an
// error at its end (blob.go). A layer is handed out entry by entry (layer.go). Nothing in an image
// is trusted: names stay inside it, and what is kept or unpacked of it is limited.
package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
)

// These are bounds on an image's descriptions, which are small in every real one.
const (
	maxJSON    = 4 << 20
	maxValues  = 64 << 10 // each of which may take a hundred bytes of memory
	maxImages  = 64
	maxLayers  = 1024
	maxNesting = 4
)

// failure is an error that costs nothing at start-up.
type failure string

func (f failure) Error() string { return string(f) }

// ErrNoImage means that both files with which an image can begin are missing.
var ErrNoImage error = failure("neither index.json (an OCI layout) nor manifest.json (docker save) is in it")

// Store holds images.
type Store struct {
	files   files
	archive *io.SectionReader // nil for a directory
	packed  int64             // the archive's size before unpacking
	close   func() error
}

// Dir is the store in a directory, which its owner closes. Links in it do not lead out.
func Dir(root *os.Root) *Store { return &Store{files: dirFiles{root}, close: keep} }

// Close removes what was unpacked in order to read the store.
func (s *Store) Close() error { return s.close() }

// Platform is the platform of an image, in OCI's words.
type Platform struct{ OS, Architecture, Variant string }

func (p Platform) String() string {
	return strings.Trim(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// Image is one image of a store, with its layers from the lowest up.
type Image struct {
	Layers []Layer
	store  *Store
	config string
}

// Platform reads the platform that the image states.
func (i *Image) Platform() (Platform, error) {
	var p Platform
	if i.config == "" {
		return p, errors.New("the image's manifest names no config, which tells the platform")
	}
	return p, i.store.readJSON(i.config, &p)
}

// descriptor leads to a blob.
type descriptor struct {
	Digest      string
	Platform    Platform
	Annotations map[string]string
}

// name is the name that the layout's author gave an image.
func (d descriptor) name() string { return d.Annotations["org.opencontainers.image.ref.name"] }

// Images lists the images in the store's order. An image that an index describes is read only if
// wanted returns true for the name at the top of the layout and the platform, either of which may
// be empty. Other images may be missing from the layout: often they are listed without having been
// fetched.
func (s *Store) Images(wanted func(name string, p Platform) bool) iter.Seq2[*Image, error] {
	return func(yield func(*Image, error) bool) {
		w := walk{s, wanted, yield, 0}
		if err := w.top(); err != nil && err != errStopped {
			yield(nil, err)
		}
	}
}

var errStopped error = failure("enough images")

// walk is one listing of images.
type walk struct {
	store  *Store
	wanted func(string, Platform) bool
	yield  func(*Image, error) bool
	images int
}

// top reads the first file of a store: OCI's, else docker's.
func (w *walk) top() error {
	var index struct{ Manifests []descriptor }
	err := w.store.readJSON("index.json", &index)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return err
		}
		return w.index(index.Manifests, "", 0)
	}
	var saved []struct {
		Config string
		Layers []string
	}
	err = w.store.readJSON("manifest.json", &saved)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoImage
	}
	if err != nil {
		return err
	}
	for _, m := range saved {
		if err := w.found(m.Config, m.Layers); err != nil {
			return err
		}
	}
	return nil
}

// index goes through a list of images and of inner lists. An inner list's images have the name
// that the list has at the top.
func (w *walk) index(list []descriptor, name string, depth int) error {
	if depth == maxNesting || len(list) > maxImages {
		return fmt.Errorf("an index of %d images, nested %d deep; the most that is read is %d and %d",
			len(list), depth, maxImages, maxNesting)
	}
	for _, d := range list {
		if depth == 0 {
			name = d.name()
		}
		if !w.wanted(name, d.Platform) {
			continue
		}
		if err := w.manifest(d.Digest, name, depth); err != nil {
			return err
		}
	}
	return nil
}

// manifest reads what a descriptor leads to: an image or an index.
func (w *walk) manifest(digest, name string, depth int) error {
	path, err := blobPath(digest)
	if err != nil {
		return err
	}
	var m struct {
		Manifests, Layers []descriptor
		Config            descriptor
	}
	if err := w.store.readJSON(path, &m); err != nil {
		return err
	}
	if m.Manifests != nil {
		return w.index(m.Manifests, name, depth+1)
	}
	layers := make([]string, len(m.Layers))
	for n, l := range m.Layers {
		if layers[n], err = blobPath(l.Digest); err != nil {
			return err
		}
	}
	config := ""
	if m.Config.Digest != "" {
		if config, err = blobPath(m.Config.Digest); err != nil {
			return err
		}
	}
	return w.found(config, layers)
}

// found hands out an image.
func (w *walk) found(config string, paths []string) error {
	if w.images++; w.images > maxImages {
		return fmt.Errorf("more than %d images", maxImages)
	}
	if len(paths) > maxLayers {
		return fmt.Errorf("an image of %d layers; the most that is read is %d", len(paths), maxLayers)
	}
	image := &Image{store: w.store, config: config}
	work := &work{packed: w.store.packed}
	for _, path := range paths {
		open := func() (*blob, error) { return openBlob(w.store.files, path) }
		image.Layers = append(image.Layers, Layer{path, open, work, w.store.archive == nil})
	}
	if !w.yield(image, nil) {
		return errStopped
	}
	return nil
}

// readJSON reads a description.
func (s *Store) readJSON(path string, into any) error {
	b, err := openBlob(s.files, path)
	if err != nil {
		return err
	}
	defer b.Close()
	if b.size > maxJSON {
		return fmt.Errorf("%s: %d bytes; the most that is read is %d", path, b.size, maxJSON)
	}
	text, err := io.ReadAll(io.LimitReader(b, maxJSON))
	if wrong := b.verify(); wrong != nil {
		err = wrong
	}
	if err == nil && bytes.Count(text, []byte(",")) > maxValues {
		err = fmt.Errorf("more than %d values", maxValues)
	}
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(text)).Decode(into) // data after it is ignored
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
