package twin

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"binproxy/emu/arch"
	"binproxy/third_party/hash/sha256"
)

// Check says why no twin of the set can run here: it is for another host, or files that all twins
// need are not whole.
func (s *Set) Check() error {
	if s.Host != arch.Host().Name {
		return fmt.Errorf("the twins in %s are programs for %s, this host is %s", s.Dir, s.Host, arch.Host().Name)
	}
	for _, f := range s.Files {
		if err := s.CheckFile(f); err != nil {
			return err
		}
	}
	return nil
}

// CheckFile checks that a file of the set exists in its size. Only twin verify checks its
// checksum.
func (s *Set) CheckFile(f File) error {
	fi, err := os.Stat(filepath.Join(s.Dir, f.Path))
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() || fi.Size() != f.Size {
		return fmt.Errorf("%s: has %d bytes instead of %d", filepath.Join(s.Dir, f.Path), fi.Size(), f.Size)
	}
	return nil
}

// CheckKernel checks that the loader and the libraries accept a kernel of the release; they accept
// one without numbers.
func (s *Set) CheckKernel(release string) error {
	var need, have [3]int
	for _, r := range []struct {
		text string
		to   *[3]int
	}{{s.Kernel, &need}, {release, &have}} {
		if numbers(r.text, r.to) < 2 {
			return nil
		}
	}
	if slices.CompareFunc(have[:], need[:], cmp.Compare[int]) < 0 {
		return fmt.Errorf("the twins in %s need Linux %s, this is %s", s.Dir, s.Kernel, release)
	}
	return nil
}

// numbers reads up to three numbers with dots between them, with which a release begins.
func numbers(release string, to *[3]int) int {
	for n := range to {
		rest := strings.TrimLeft(release, "0123456789")
		number, err := strconv.Atoi(release[:len(release)-len(rest)])
		if err != nil {
			return n
		}
		to[n] = number
		dotted := false
		if release, dotted = strings.CutPrefix(rest, "."); !dotted {
			return n + 1
		}
	}
	return len(to)
}

// Sums compares all files of the set with their checksums.
func (s *Set) Sums() error {
	files := slices.Clone(s.Files)
	for _, t := range s.Twins {
		files = append(files, t.File)
	}
	for _, f := range files {
		if err := s.sum(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) sum(f File) error {
	path := filepath.Join(s.Dir, f.Path)
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.Sum {
		return fmt.Errorf("%s is not the file that was packed: its checksum is another one", path)
	}
	return nil
}
