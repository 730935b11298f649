package bootstrap

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/zstd"
)

// source is where an image's files are: an OCI layout's directory, or the entries of an archive.
type source interface {
	// open opens a file of the image by its path; size is in bytes.
	open(path string) (r io.Reader, size int64, err error)
	has(path string) bool
}

// isImage tells whether --from names an image instead of a backend.
func isImage(from string) bool {
	return strings.HasPrefix(from, "oci:") || strings.HasPrefix(from, "tar:")
}

// absoluteSource makes the path in From absolute, and refuses one that is not there.
func absoluteSource(o *Options) error {
	kind, path, _ := strings.Cut(o.From, ":")
	if kind == "oci" {
		dir, ref := splitRef(path)
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		if err := readable(filepath.Join(abs, "index.json")); err != nil {
			return fmt.Errorf("--from %s: no OCI image layout: %w", o.From, err)
		}
		o.From = "oci:" + abs
		if ref != "" {
			o.From += ":" + ref
		}
		return nil
	}
	if path == "" {
		return errors.New("--from tar: names no archive; it is tar:FILE")
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		err = readable(abs)
	}
	if err != nil {
		return fmt.Errorf("--from %s: %w", o.From, err)
	}
	o.From = "tar:" + abs
	return nil
}

// readable tells beforehand what would fail when the root has been begun. A pipe, which opens but once, is left alone.
func readable(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case fi.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case !fi.Mode().IsRegular():
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// splitRef takes oci:DIR:REF apart; DIR may have colons, if a directory of that name is there.
func splitRef(path string) (dir, ref string) {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return path, ""
	}
	if i := strings.LastIndexByte(path, ':'); i > 0 {
		return path[:i], path[i+1:]
	}
	return path, ""
}

// unpackImage fills the root from the image that From names.
func unpackImage(o Options, root string, progress io.Writer) error {
	kind, path, _ := strings.Cut(o.From, ":")
	if kind == "oci" {
		dir, ref := splitRef(path)
		return unpackOCI(dirSource(dir), o.ABI, ref, root, progress)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := uncompressed(f, beside(root, "image.tar"))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer plain.Close()
	archive, err := indexArchive(plain)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case archive.has("index.json"):
		return unpackOCI(archive, o.ABI, "", root, progress)
	case archive.has("manifest.json"):
		return unpackSaved(archive, o.ABI, root, progress)
	}
	// No image, so a root: what docker export or tar has written.
	if _, err := plain.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return unpackLayers(root, []layer{{name: filepath.Base(path), open: func() (io.Reader, error) { return plain, nil }}}, progress)
}

// uncompressed is the archive as a plain file: itself, or unpacked to temp, which has a name only until it is open.
func uncompressed(f *os.File, temp string) (*os.File, error) {
	r, err := decompress(f)
	if err != nil {
		return nil, err
	}
	if _, plain := r.(*peeked); plain {
		_, err := f.Seek(0, io.SeekStart)
		return f, err
	}
	out, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(out, io.LimitReader(r, maxImage))
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err = errors.Join(err, os.Remove(temp)); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// peeked is a reader whose first bytes were looked at.
type peeked struct{ io.Reader }

// decompress tells by the first bytes how the stream is compressed.
func decompress(r io.Reader) (io.Reader, error) {
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, err
	}
	whole := io.MultiReader(strings.NewReader(string(head[:n])), r)
	switch {
	case n >= 2 && head[0] == 0x1f && head[1] == 0x8b:
		return gzip.NewReader(whole)
	case n == 4 && string(head) == "\x28\xb5\x2f\xfd":
		return zstd.NewReader(whole), nil
	}
	return &peeked{whole}, nil
}

// descriptor is OCI's; the fields that count here.
type descriptor struct {
	MediaType   string
	Digest      string
	Size        int64
	Platform    *platform
	Annotations map[string]string
}

type platform struct{ OS, Architecture, Variant string }

// The limits of what is read into memory, of the images that an index may hold in each other, of an image's layers, and of what an image unpacks to.
const (
	maxJSON   = 4 << 20
	maxNested = 4
	maxLayers = 1024
	maxImage  = 256 << 30
)

func readJSON(s source, path string, into any) error {
	r, size, err := s.open(path)
	if err != nil {
		return err
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	if size > maxJSON {
		return fmt.Errorf("%s has %d bytes; an image's is not over %d", path, size, maxJSON)
	}
	if err := json.NewDecoder(io.LimitReader(r, maxJSON)).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// matches tells whether the platform is one of the ABI's.
func (p platform) matches(abi *arch.ABI) bool {
	if p.OS != "" && p.OS != "linux" {
		return false
	}
	got, err := arch.Parse(strings.TrimSuffix(p.Architecture+"/"+p.Variant, "/"))
	if err != nil {
		return false
	}
	return got == abi
}

func (p platform) String() string {
	return strings.Trim(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// dirSource is an OCI layout on disk.
type dirSource string

func (d dirSource) open(path string) (io.Reader, int64, error) {
	f, err := os.OpenInRoot(string(d), path)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

func (d dirSource) has(path string) bool {
	f, _, err := d.open(path)
	if err != nil {
		return false
	}
	f.(io.Closer).Close()
	return true
}
