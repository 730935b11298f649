package lab

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Tree has, for each file of a file system by its absolute path, a line that tells everything of it: type, mode, owner, time of
// the last change, link, extended attributes, and a sum of the content.
type Tree map[string]string

// ReadTree reads a tar archive.
func ReadTree(archive io.Reader) (Tree, error) {
	tree := Tree{}
	return tree, tree.apply(archive)
}

// apply lays a layer over the tree. A file .wh.NAME stands for the absence of NAME, .wh..wh..opq for that of all that was in its directory.
func (t Tree) apply(layer io.Reader) error {
	const absent, opaque = ".wh.", ".wh..wh..opq"
	r := tar.NewReader(layer)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Join("/", h.Name)
		dir, base := path.Split(name)
		switch {
		case base == opaque:
			t.remove(path.Clean(dir), false)
		case strings.HasPrefix(base, absent):
			t.remove(dir+base[len(absent):], true)
		default:
			if h.Typeflag != tar.TypeDir {
				t.remove(name, true)
			}
			if t[name], err = describe(h, r); err != nil {
				return err
			}
		}
	}
}

// remove takes away what is below name, and name itself too.
func (t Tree) remove(name string, itself bool) {
	maps.DeleteFunc(t, func(file, _ string) bool { return strings.HasPrefix(file, strings.TrimSuffix(name, "/")+"/") })
	if itself {
		delete(t, name)
	}
}

func describe(h *tar.Header, content io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return "", err
	}
	var xattrs strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if strings.HasPrefix(name, "SCHILY.xattr.") {
			fmt.Fprintf(&xattrs, " %s=%q", name, h.PAXRecords[name])
		}
	}
	const allBits = 0o7777
	return fmt.Sprintf("%c %o %d:%d %s %d,%d %q %x%s", h.Typeflag, h.Mode&allBits, h.Uid, h.Gid, h.ModTime.UTC().Format("2006-01-02T15:04:05.999999999"),
		h.Devmajor, h.Devminor, h.Linkname, sum.Sum(nil)[:8], &xattrs), nil
}

// ReadImage reads the layers of an image that `docker save` wrote, laid over each other.
func ReadImage(archive string) (Tree, error) {
	var manifest []struct{ Layers []string }
	err := inArchive(archive, "manifest.json", func(r io.Reader) error { return json.NewDecoder(r).Decode(&manifest) })
	if err != nil {
		return nil, err
	}
	if len(manifest) != 1 {
		return nil, fmt.Errorf("%s: %d images, not one", archive, len(manifest))
	}
	tree := Tree{}
	for _, layer := range manifest[0].Layers {
		if err := inArchive(archive, layer, tree.apply); err != nil {
			return nil, fmt.Errorf("layer %s: %w", layer, err)
		}
	}
	return tree, nil
}

// inArchive reads one file of a tar archive.
func inArchive(archive, name string, read func(io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %s: %w", archive, name, err)
		case h.Name == name && h.Typeflag == tar.TypeSymlink: // equal layers are stored once
			return inArchive(archive, path.Join(path.Dir(name), h.Linkname), read)
		case h.Name == name:
			return read(r)
		}
	}
}

// treeOf reads the archive that the command writes.
func treeOf(t testing.TB, cmd *exec.Cmd) Tree {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	tree, err := ReadTree(out)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	return tree
}

// Diff lists what differs between two trees, one line for each file and side.
func (t Tree) Diff(after Tree) []string {
	all := maps.Clone(t)
	maps.Copy(all, after)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		before, was := t[name]
		now, is := after[name]
		if before == now {
			continue
		}
		if was {
			lines = append(lines, fmt.Sprintf("- %q %s", name, before))
		}
		if is {
			lines = append(lines, fmt.Sprintf("+ %q %s", name, now))
		}
	}
	return lines
}
