// Package snapshot describes a file tree by lines that can be compared: two trees with the same
// lines differ in nothing that an image keeps.
package snapshot

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Of gives one line for each file below root: type and mode, owner, modification time to the
// nanosecond, device, link target, a hash of the contents, extended attributes, and which names
// are one file. It leaves out the directories in skip, which are paths from root on.
func Of(t testing.TB, root string, skip ...string) []string {
	t.Helper()
	first := map[[2]uint64]string{}
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, root)
		if slices.Contains(skip, name) && d.IsDir() {
			return fs.SkipDir
		}
		line, err := describe(path, name, first)
		lines = append(lines, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// Same fails the test unless the two are the same, and shows what differs.
func Same(t testing.TB, before, after []string) {
	t.Helper()
	if slices.Equal(before, after) {
		return
	}
	var b strings.Builder
	show := func(sign string, lines, others []string) {
		known := map[string]bool{}
		for _, line := range others {
			known[line] = true
		}
		for _, line := range lines {
			if !known[line] {
				fmt.Fprintln(&b, sign, line)
			}
		}
	}
	show("-", before, after)
	show("+", after, before)
	t.Fatalf("the trees differ:\n%s", b.String())
}

func describe(path, name string, first map[[2]uint64]string) (string, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	st := fi.Sys().(*syscall.Stat_t)
	line := fmt.Sprintf("%q %o %d:%d %s rdev %d xattrs %q", name, st.Mode, st.Uid, st.Gid, fi.ModTime().UTC().Format("2006-01-02T15:04:05.000000000"), st.Rdev, xattrs(path))
	if !fi.IsDir() {
		key := [2]uint64{uint64(st.Dev), st.Ino}
		if first[key] == "" {
			first[key] = name
		}
		line += fmt.Sprintf(" nlink %d with %q", st.Nlink, first[key])
	}
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return line + fmt.Sprintf(" -> %q", target), err
	case fi.Mode().IsRegular():
		sum, err := hash(path)
		return line + " " + sum, err
	}
	return line, nil
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return fmt.Sprintf("%x", sum.Sum(nil)), err
}

func xattrs(path string) (all []string) {
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return nil
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 1<<16)
		if n, err := unix.Lgetxattr(path, name, value); err == nil {
			all = append(all, name+"="+string(value[:n]))
		}
	}
	slices.Sort(all)
	return all
}
