package check

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"binproxy/emu/zstd"
)

// Bounds on layers. A layer may be as large as a disk, but not the work that a small archive makes.
const (
	maxEntries  = 4 << 20   // in all layers of an image
	maxNames    = 512 << 20 // bytes of their names
	maxUnpacked = 64 << 30  // bytes that a compressed layer may become
	maxSpooled  = 8 << 30   // bytes that a compressed archive may become, in a temporary file
	maxELF      = 2 << 30   // bytes of an ELF file
	inMemory    = 1 << 20   // up to here an ELF file is kept in memory, above in a temporary file
)

// overlay is what the layers above the current one show: they are read from the top, each once.
type overlay struct {
	seen   map[string]bool // names that a higher layer has; true where it is no directory, and so hides what is below it
	gone   map[string]bool // names that a higher layer took away
	opaque map[string]bool // directories that a higher layer shows alone

	entries, bytes int
}

// The names that mark what a layer takes away (OCI image specification, layer).
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// readLayers reads the files that are visible in an image.
func readLayers(b blobs, layers []string, c *collector) error {
	if len(layers) > maxLayers {
		return fmt.Errorf("%d layers; the most that is read is %d", len(layers), maxLayers)
	}
	o := overlay{seen: map[string]bool{}, gone: map[string]bool{}, opaque: map[string]bool{}}
	for i := len(layers) - 1; i >= 0; i-- {
		if err := o.readLayer(b, layers[i], c); err != nil {
			return fmt.Errorf("layer %s: %w", layers[i], err)
		}
	}
	return nil
}

func (o *overlay) readLayer(b blobs, name string, c *collector) error {
	blob, err := openBlob(b, name)
	if err != nil {
		return err
	}
	defer blob.Close()
	stream, err := decompress(blob)
	if err != nil {
		return blob.because(err)
	}
	// What this layer has hides only what is in the layers below it.
	below := overlay{seen: map[string]bool{}, gone: map[string]bool{}, opaque: map[string]bool{}}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return blob.because(fmt.Errorf("damaged archive: %w", err))
		}
		if err := o.entry(h, r, &below, c); err != nil {
			return blob.because(err)
		}
	}
	o.merge(below)
	return blob.verify()
}

func (o *overlay) entry(h *tar.Header, r io.Reader, below *overlay, c *collector) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		if _, err := cleanName(h.Linkname); err != nil {
			return err
		}
	}
	if o.entries, o.bytes = o.entries+1, o.bytes+len(name); o.entries > maxEntries || o.bytes > maxNames {
		return fmt.Errorf("more than %d files, or %d bytes of names", maxEntries, maxNames)
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case base == opaque:
		below.opaque[dir] = true
		return nil
	case strings.HasPrefix(base, whiteout):
		below.gone[path.Join(dir, base[len(whiteout):])] = true
		return nil
	}
	visible := o.visible(name)
	below.seen[name] = h.Typeflag != tar.TypeDir
	if h.Typeflag != tar.TypeReg || !visible || skipped(firstPart(name)) {
		return nil
	}
	return addStream(c, "/"+name, r, h.Size)
}

func firstPart(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// visible tells whether no higher layer hides a name.
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

// addStream hands an ELF file of an archive to the collector, which wants to read it at any place.
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

// spool copies a stream of at most limit bytes into a temporary file without a name.
func spool(r io.Reader, limit int64) (*os.File, error) {
	f, err := os.CreateTemp("", "binproxy-check-")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	n, err := io.Copy(f, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("it unpacks to more than %d bytes", limit)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// compression names the compression of a file by its first bytes.
func compression(head []byte) (name string, compressed bool) {
	for _, c := range [...]struct{ magic, name string }{
		{"\x1f\x8b", "gzip"}, {"\x28\xb5\x2f\xfd", "zstd"}, {"BZh", "bzip2"}, {"\xfd7zXZ\x00", "xz"},
	} {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return c.name, true
		}
	}
	return "", false
}

// decompress reads a layer or an archive: plain, or packed with gzip or zstd.
func decompress(packed io.Reader) (io.Reader, error) {
	stream := bufio.NewReader(packed)
	head, err := stream.Peek(8)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch name, compressed := compression(head); {
	case !compressed:
		return stream, nil
	case name == "gzip":
		z, err := gzip.NewReader(stream)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return &limited{z, maxUnpacked}, nil
	case name == "zstd":
		return &limited{zstd.NewReader(stream), maxUnpacked}, nil
	default:
		return nil, fmt.Errorf("it is compressed with %s, which no image has: save it again, with gzip, zstd or not at all", name)
	}
}

// limited fails where a stream is longer than it may be.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("it unpacks to more than may be")
	}
	n, err := l.r.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// uncompressed gives an archive that can be read at any place: itself, or a temporary file with what it unpacks to.
func uncompressed(f io.ReaderAt, size int64) (*io.SectionReader, func(), error) {
	head := make([]byte, min(8, size))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, nil, err
	}
	if _, compressed := compression(head); !compressed {
		return io.NewSectionReader(f, 0, size), func() {}, nil
	}
	stream, err := decompress(io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil, nil, err
	}
	temp, err := spool(stream, maxSpooled)
	if err != nil {
		return nil, nil, err
	}
	info, err := temp.Stat()
	if err != nil {
		temp.Close()
		return nil, nil, err
	}
	return io.NewSectionReader(temp, 0, info.Size()), func() { temp.Close() }, nil
}
