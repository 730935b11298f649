package twin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ManifestName is the file that describes a directory of twins; DirName is that directory's usual
// name in a bundle.
const (
	ManifestName = "twins.list"
	DirName      = "twins"
)

// Set is a directory of twins. All paths of its files are relative to it.
//
//	binproxy-twins 1
//	host x86_64
//	vendor debian
//	database dpkg
//	kernel 3.2.0
//	loader lib/ld-linux-x86-64.so.2
//	file lib/libc.so.6 libc6 2.36-9+deb12u14 1922136 4f0b...
//	twin cc1 aarch64 12 aarch64/12/cc1 cpp-12-aarch64-linux-gnu 12.2.0-14cross1 27353944 97aa...
//
// The architecture of a twin for every guest is "any", its major version "-" where it has none.
type Set struct {
	Dir      string
	Host     string // our name of the host's ABI
	Vendor   string // ID of os-release
	Database string // of packages: dpkg, apk or rpm
	Kernel   string // the oldest that the loader and the libraries accept; "" for any
	Loader   string // "" where there are no twins
	Files    []File // the loader, the libraries, plug-ins
	Twins    []Twin
}

// File is a file of a set: its origin and its expected content.
type File struct {
	Path             string
	Package, Version string
	Size             int64
	Sum              string // SHA-256, in hexadecimal
}

// Twin is a program of a set.
type Twin struct {
	Name, ABI, Major string
	File
}

const manifestHead = "binproxy-twins 1"

// Load reads a directory's manifest. The error names the line and the fault.
func Load(dir string) (*Set, error) {
	path := filepath.Join(dir, ManifestName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("no twins: %w; make them with binproxy twin pack", err)
	}
	s := &Set{Dir: dir}
	if err := s.parse(string(text)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *Set) parse(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != manifestHead {
		return fmt.Errorf("line 1 is not %q", manifestHead)
	}
	for n, line := range lines[1:] {
		if err := s.line(strings.Split(line, " ")); err != nil {
			return fmt.Errorf("line %d: %w", n+2, err)
		}
	}
	return nil
}

// errWords is an error for a line. It is made anew: a variable would cost every start.
func errWords() error { return errors.New("has another number of words") }

func (s *Set) line(words []string) (err error) {
	key, values := words[0], words[1:]
	single := map[string]*string{"host": &s.Host, "vendor": &s.Vendor, "database": &s.Database, "kernel": &s.Kernel, "loader": &s.Loader}
	if field := single[key]; field != nil {
		if len(values) != 1 {
			return errWords()
		}
		*field = values[0]
		if key == "loader" && !filepath.IsLocal(values[0]) {
			return fmt.Errorf("%q is not below the directory", values[0])
		}
		return nil
	}
	switch key {
	case "file":
		var f File
		if f, err = parseFile(values); err == nil {
			s.Files = append(s.Files, f)
		}
	case "twin":
		if len(values) < 3 {
			return errWords()
		}
		t := Twin{Name: values[0], ABI: values[1], Major: strings.TrimSuffix(values[2], "-")}
		if t.File, err = parseFile(values[3:]); err == nil {
			s.Twins = append(s.Twins, t)
		}
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return err
}

func parseFile(words []string) (File, error) {
	if len(words) != 5 {
		return File{}, errWords()
	}
	size, err := strconv.ParseInt(words[3], 10, 64)
	if err != nil {
		return File{}, err
	}
	if !filepath.IsLocal(words[0]) {
		return File{}, fmt.Errorf("%q is not below the directory", words[0])
	}
	return File{words[0], words[1], words[2], size, words[4]}, nil
}

// Marshal gives the manifest that Load reads as s. The same set gives the same bytes.
func (s *Set) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, manifestHead)
	for _, f := range []struct{ key, value string }{
		{"host", s.Host}, {"vendor", s.Vendor}, {"database", s.Database}, {"kernel", s.Kernel}, {"loader", s.Loader}} {
		if f.value != "" {
			fmt.Fprintln(&b, f.key, f.value)
		}
	}
	for _, f := range s.Files {
		fmt.Fprintln(&b, "file", f)
	}
	for _, t := range s.Twins {
		major := t.Major
		if major == "" {
			major = "-"
		}
		fmt.Fprintln(&b, "twin", t.Name, t.ABI, major, t.File)
	}
	return b.Bytes()
}

func (f File) String() string {
	return fmt.Sprint(f.Path, " ", f.Package, " ", f.Version, " ", f.Size, " ", f.Sum)
}

// AnyABI is the architecture of a twin that serves every guest.
const AnyABI = "any"

// twin finds the twin of a name for an ABI; nil if the set has none.
func (s *Set) twin(name, abi, major string) *Twin {
	for i := range s.Twins {
		t := &s.Twins[i]
		if t.Name == name && (t.ABI == AnyABI || t.ABI == abi) && t.Major == major {
			return t
		}
	}
	return nil
}
