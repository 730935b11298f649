package lab

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Tree has, for each file of a file system by its absolute path, a line that describes it
// completely: type, mode, owner, time of the last change, link, extended attributes, and a sum of
// the content.
type Tree map[string]string

// BuilderNoise are the names that builders and engines themselves change, and /, whose time any
// ADD changes.
var BuilderNoise = []string{"/", "/.dockerenv", "/dev", "/dev/console", "/dev/pts", "/dev/shm", "/etc", "/etc/hostname", "/etc/hosts", "/etc/mtab",
	"/etc/resolv.conf", "/proc", "/run", "/sys"}

// ReadTree reads a tar archive.
func ReadTree(archive io.Reader) (Tree, error) {
	tree := Tree{}
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return tree, nil
		}
		if err != nil {
			return nil, err
		}
		if tree[path.Join("/", h.Name)], err = describe(h, r); err != nil {
			return nil, err
		}
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
	link := h.Linkname
	if h.Typeflag == tar.TypeLink {
		link = path.Join("/", link)
	}
	const allBits = 0o7777
	return fmt.Sprintf("%c %o %d:%d %s %d,%d %q %x%s", h.Typeflag, h.Mode&allBits, h.Uid, h.Gid, h.ModTime.UTC().Format("2006-01-02T15:04:05.999999999"),
		h.Devmajor, h.Devminor, link, sum.Sum(nil)[:8], &xattrs), nil
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

// Lasting gives the tree without the times of the last changes, and without the user.overlay
// attributes of a user namespace's overlay, which builders put into layers.
func (t Tree) Lasting() Tree {
	notes := regexp.MustCompile(` SCHILY\.xattr\.user\.overlay\.[^ ]*`)
	rest := Tree{}
	for name, line := range t {
		// the fourth field is the time
		fields := strings.SplitN(notes.ReplaceAllString(line, ""), " ", 5)
		rest[name] = strings.Join(slices.Delete(fields, 3, 4), " ")
	}
	return rest
}

// Over gives the file system that a layer makes of the one below it: whiteouts take effect, and
// each hard link is the file itself. Neither tree has times (Lasting).
func (t Tree) Over(below Tree) Tree {
	result := maps.Clone(below)
	for name := range t {
		dir, file := path.Split(name)
		if gone, ok := strings.CutPrefix(file, ".wh."); ok {
			// an opaque directory hides everything in it
			gone = dir + strings.TrimPrefix(gone, ".wh..opq")
			maps.DeleteFunc(result, func(name, _ string) bool {
				return name == gone || strings.HasPrefix(name, strings.TrimSuffix(gone, "/")+"/")
			})
		}
	}
	for name, line := range t {
		if !strings.HasPrefix(path.Base(name), ".wh.") {
			result[name] = line
		}
	}
	for name, line := range t {
		const link = 4 // the number of the field
		fields := strings.SplitN(line, " ", link+1)
		if fields[0] != string(tar.TypeLink) {
			continue
		}
		target, err := strconv.QuotedPrefix(fields[link])
		if err == nil {
			target, err = strconv.Unquote(target)
		}
		if file, ok := result[target]; ok && err == nil {
			result[name] = file
		}
	}
	return result
}

// Without gives the tree without the names.
func (t Tree) Without(names ...string) Tree {
	rest := maps.Clone(t)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// Changed lists the names that differ between two trees.
func (t Tree) Changed(after Tree) []string {
	all := maps.Clone(t)
	maps.Copy(all, after)
	maps.DeleteFunc(all, func(name, _ string) bool { return t[name] == after[name] })
	return slices.Sorted(maps.Keys(all))
}

// Diff lists the differences between two trees, one line for each file and side.
func (t Tree) Diff(after Tree) []string {
	var lines []string
	for _, name := range t.Changed(after) {
		if before, was := t[name]; was {
			lines = append(lines, fmt.Sprintf("- %q %s", name, before))
		}
		if now, is := after[name]; is {
			lines = append(lines, fmt.Sprintf("+ %q %s", name, now))
		}
	}
	return lines
}
