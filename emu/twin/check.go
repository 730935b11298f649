package twin

import (
	"fmt"
	"os"
	"path/filepath"

	"binproxy/emu/arch"
)

// Check tells why no twin of the set can run here: it is for another host, or what all of them need is not whole.
func (s *Set) Check() error {
	if s.Host != arch.Host().Name {
		return fmt.Errorf("the twins in %s are programs for %s, this host is %s", s.Dir, s.Host, arch.Host().Name)
	}
	if s.Loader == "" {
		return fmt.Errorf("the twins in %s have no loader", s.Dir)
	}
	for _, f := range s.Files {
		if err := s.CheckFile(f); err != nil {
			return err
		}
	}
	return nil
}

// CheckFile tells whether a file of the set is there in its size. Its checksum is the business of twin verify.
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
