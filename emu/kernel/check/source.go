package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"binproxy/emu/elfinfo"
	"binproxy/emu/oci"
)

// Options are the settings of a check besides the kernel and the path.
type Options struct {
	Libc Libc // of the image, where the path does not contain it
}

// Run checks paths against a kernel. Programs and libraries are checked together; a root directory
// and each image of an OCI layout or an archive of docker save by itself. An error means that a
// path could not be read.
func Run(paths []string, k Kernel, o Options) (*Report, error) {
	named := o.Libc
	report := &Report{Findings: []Finding{}}
	files := newCollector()
	for _, path := range paths {
		if err := checkPath(path, files, func(c *collector) { report.take(c, k, named) }); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	report.take(files, k, named)
	return report, nil
}

func (r *Report) take(c *collector, k Kernel, named Libc) {
	r.Files += len(c.objects)
	r.Findings = append(r.Findings, c.judge(k, named)...)
	for _, l := range c.libcs {
		r.Libc = l.String()
	}
	if named.name != "" {
		r.Libc = named.String()
	}
}

// ParseLibc reads NAME-VERSION, as in glibc-2.31; the empty text is the zero Libc.
func ParseLibc(text string) (Libc, error) {
	if text == "" {
		return Libc{}, nil
	}
	for _, name := range []string{"glibc", "musl"} {
		if len(text) > len(name)+1 && text[:len(name)+1] == name+"-" && leadingVersion(text[len(name)+1:]) != "" {
			return Libc{name, leadingVersion(text[len(name)+1:])}, nil
		}
	}
	return Libc{}, fmt.Errorf("--libc %s: not a libc and its version, as in glibc-2.31 or musl-1.2.3", text)
}

// checkPath reads one path: an ELF file into files, any other as an image, which it passes to
// done.
func checkPath(path string, files *collector, done func(*collector)) error {
	info, err := os.Stat(path)
	if err != nil {
		return plain(err)
	}
	if info.IsDir() {
		return checkDir(path, done)
	}
	if !info.Mode().IsRegular() {
		return errors.New("neither a regular file nor a directory")
	}
	f, err := os.Open(path)
	if err != nil {
		return plain(err)
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return plain(err)
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return files.add(path, f, info.Size())
	case oci.IsArchive(head):
		return checkArchive(f, info.Size(), done)
	}
	return errors.New("neither an ELF file, nor a directory, nor an archive of docker save or of an OCI layout")
}

// plain removes the path from an error that contains it, since every error here gets one.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func checkDir(dir string, done func(*collector)) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return plain(err)
	}
	defer root.Close()
	for _, mark := range []string{"oci-layout", "manifest.json"} {
		if _, err := root.Lstat(mark); err == nil {
			return checkStore(oci.Dir(root), done)
		}
	}
	c := newCollector()
	if err := checkTree(root, c); err != nil {
		return err
	}
	done(c)
	return nil
}

// skipped reports whether a directory of a root belongs to the running system.
func skipped(name string) bool { return name == "proc" || name == "sys" || name == "dev" }

// checkTree reads the regular files of a root directory. It does not follow links: what they lead
// to is in the tree itself, or does not belong to it.
func checkTree(root *os.Root, c *collector) error {
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && errors.Is(err, fs.ErrPermission):
			c.objects = append(c.objects, object{name: "/" + name, damage: plain(err).Error()})
			return nil
		case err != nil:
			return err
		case d.IsDir() && skipped(name):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			c.objects = append(c.objects, object{name: "/" + name, damage: plain(err).Error()})
			return nil
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return plain(err)
		}
		return c.add("/"+filepath.ToSlash(name), f, info.Size())
	})
}

// isELF reports whether the first bytes are those of an ELF file.
func isELF(head []byte) bool {
	_, err := elfinfo.Header(head)
	return !errors.Is(err, elfinfo.ErrNotELF)
}
