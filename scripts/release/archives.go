package main

import (
	"archive/tar"
	"binproxy/emu/bundle"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// archives writes a tar.gz for each architecture.
func (r release) archives(ctx context.Context) error {
	for _, arch := range r.archs {
		if err := os.CopyFS(r.stage(arch), os.DirFS(r.common())); err != nil {
			return err
		}
		if !slices.Contains(complete, arch) {
			if err := os.WriteFile(filepath.Join(r.stage(arch), "ROUTES"), []byte(routes), 0o644); err != nil {
				return err
			}
		}
		if err := pack(filepath.Join(r.out, r.base(arch)+".tar.gz"), r.base(arch), r.stage(arch)); err != nil {
			return err
		}
	}
	return nil
}

// routes is what the archive of another host than amd64 and arm64 says.
const routes = `On this architecture binproxy cannot supervise: it lacks the registers (docs/supervise.md).
The routes kernel, preload, farm and userns are there, and every applet that runs no guest.
Nothing of it is tested on such a machine, only under an emulator: that it starts.
`

// pack writes the files of a directory below a name, sorted, all root's, with one time.
func pack(file, name, dir string) error {
	created, err := bundle.Timestamp()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	tree := os.DirFS(dir)
	err = fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.Join(name, path), Typeflag: tar.TypeReg, Mode: 0o644, Size: info.Size(), ModTime: created}
		if info.Mode()&0o111 != 0 {
			h.Mode = 0o755
		}
		if d.IsDir() {
			h.Typeflag, h.Name, h.Size = tar.TypeDir, h.Name+"/", 0
			return w.WriteHeader(h)
		}
		text, err := fs.ReadFile(tree, path)
		if err := errors.Join(err, w.WriteHeader(h)); err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
	if err := errors.Join(err, w.Close(), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// sums writes SHA256SUMS: every file, and of an OCI layout the index, which names all else by its
// sum.
func (r release) sums(context.Context) error {
	var lines []string
	tree := os.DirFS(r.out)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		ours := strings.HasPrefix(name, "binproxy") || strings.HasPrefix(name, "images/") && d.Name() == "index.json"
		if err != nil || d.IsDir() || !ours {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(text), name))
		return err
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(strings.Join(lines, "")), 0o644)
}
