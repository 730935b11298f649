package farm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"binproxy/emu/config"
	"binproxy/emu/elfinfo"
	"binproxy/emu/exit"
	"binproxy/emu/resolve"
)

// DefaultPath is the PATH of an image that sets none, the same as Docker's.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxName is the longest name that can be put in place: NAME_MAX less the prefixes of the real
// file's name and of a temporary link's.
const maxName = 255 - 2*len(asidePrefix)

// Resolver distinguishes guests from natives for a bundle: the host's kernel cannot load a guest,
// or the bundle has an emulator for it.
func Resolver(cfg config.Config) resolve.Resolver {
	return resolve.Resolver{Guest: cfg.Guest}
}

// finding is the result for a name in a directory.
type finding struct {
	path string
	// the file that a link must replace so that a call by absolute path is routed: the ELF file,
	// or a script's interpreter; "" for none
	place  string
	reason string   // why the name is not routed, "" if it is
	notes  []string // what works differently from a native system
}

func (f finding) routed() bool { return f.reason == "" }

// scanner looks at an image's files.
type scanner struct {
	root  Root
	cfg   config.Config
	shell string // the place of /bin/sh
}

func newScanner(cfg config.Config, shell string) *scanner {
	s := &scanner{root: Root{cfg.Self(), cfg.AllFarms()}, cfg: cfg}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(shell)); shell != "" && err == nil {
		s.shell = filepath.Join(dir, filepath.Base(shell))
	}
	return s
}

// ours reports whether path is in the bundle or in a farm.
func (s *scanner) ours(path string) bool {
	return within(path, s.cfg.Dir) || slices.ContainsFunc(s.cfg.Farms, func(farm string) bool { return within(path, farm) })
}

// errStray is the error for a link to binproxy for which no file was kept.
const errStray = exit.Sentinel("leads to binproxy, but not by a link that install made")

// follow follows path to the name that stands for the file (place, without symbolic links) and to
// the name that has its bytes (file). They differ if a link of ours is in place.
func (s *scanner) follow(path string) (place, file string, err error) {
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		fi, err := os.Lstat(path)
		if err != nil {
			return "", "", err
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			return path, path, nil
		}
		name := path
		if leadsTo(path, s.root.Self) {
			name = Aside(path)
			if !exists(name) || leadsTo(name, s.root.Self) {
				return path, "", errStray
			}
		}
		target, err := os.Readlink(name)
		if err != nil {
			return path, name, nil // not a link: the real file that was kept
		}
		path = beside(path, target)
	}
	return "", "", syscall.ELOOP
}

// recorder records which file ended a chain of `#!` lines, and whether one of the lines names its
// interpreter by a relative path.
type recorder struct {
	Root
	last     string
	relative string // the first such path
}

func (r *recorder) Open(path string) (resolve.File, syscall.Errno) {
	r.last = path
	if r.relative == "" && !filepath.IsAbs(path) {
		r.relative = path
	}
	return r.Root.Open(path)
}

// look finds out what path is. ok is false if it is no command at all: a directory, or a file of
// our own.
func (s *scanner) look(path string) (f finding, ok bool) {
	f.path = path
	if IsAside(path) {
		return f, false
	}
	place, file, err := s.follow(path)
	if err != nil {
		f.reason = plain(err)
		if errors.Is(err, fs.ErrNotExist) && exists(path) {
			f.reason = "dangling link"
		}
		return f, true
	}
	fi, err := os.Stat(file)
	switch {
	case err != nil:
		f.reason = plain(err)
		return f, true
	case fi.IsDir():
		return f, false
	case !fi.Mode().IsRegular():
		f.reason = "not a regular file"
		return f, true
	case fi.Mode()&0o111 == 0:
		f.reason = "not executable"
		return f, true
	case s.ours(place):
		f.reason = "part of binproxy"
		return f, true
	}
	f.place, f.reason = s.classify(place, file)
	if f.routed() {
		f.notes = notes(fi)
	}
	return f, true
}

// classify follows `#!` lines to the program that runs, and returns what must be in place for it,
// or why it is not routed.
func (s *scanner) classify(place, file string) (inPlace, reason string) {
	rec := &recorder{Root: s.root}
	plan, errno := Resolver(s.cfg).Resolve(rec, resolve.Request{Path: file})
	switch {
	case rec.relative != "":
		// The file depends on where the script is called; the one that is there now must not be
		// replaced.
		return "", fmt.Sprintf("interpreter %s: a relative path", display(rec.relative))
	case errno != 0 && rec.last != file:
		return "", fmt.Sprintf("interpreter %s: %v", display(rec.last), errno)
	case errno == syscall.EACCES:
		if _, errno := s.root.Open(file); errno == 0 {
			return "", "its #! line names no interpreter"
		}
		return "", "may not be read: an emulator has to"
	case errno != 0:
		return "", errno.Error()
	case plan.Native() && plan.Script:
		return "", fmt.Sprintf("script of %s, which is no guest program", display(rec.last))
	case plan.Native() && strings.HasPrefix(string(plan.File.Head), "\x7fELF"):
		return "", whyNative(plan.File.Head)
	case plan.Native():
		return "", "neither an ELF program nor a #! script"
	}
	if _, err := s.cfg.Emulator(plan.ABI); err != nil {
		return "", "no emulator for " + plan.ABI.Name
	}
	if !plan.Script && isLibrary(place) {
		return "", ""
	}
	if !plan.Script {
		return place, ""
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(rec.last))
	if err == nil && filepath.Join(dir, filepath.Base(rec.last)) == s.shell {
		return s.shell, ""
	}
	interpreter, _, err := s.follow(rec.last)
	if err != nil {
		return "", fmt.Sprintf("interpreter %s: %s", display(rec.last), plain(err))
	}
	return interpreter, ""
}

// whyNative says why an ELF file is left to the kernel.
func whyNative(head []byte) string {
	info, err := elfinfo.Header(head)
	switch {
	case err != nil:
		return err.Error()
	case !info.Executable():
		return "an ELF file, but no program"
	case info.ABI() == nil:
		return "an ELF file of an unknown architecture"
	}
	return "the host's own program"
}

// isLibrary recognises shared libraries and the loader by their name. They are opened by path far
// more often than executed, so no link may replace them. Debian's /usr/bin/ld.so and Alpine's ldd
// are links to the loader.
func isLibrary(path string) bool {
	name := filepath.Base(path)
	return strings.HasSuffix(name, ".so") || strings.Contains(name, ".so.")
}

func notes(fi fs.FileInfo) (notes []string) {
	if fi.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		notes = append(notes, "setuid or setgid: runs without that privilege")
	}
	if fi.Mode()&0o004 == 0 {
		notes = append(notes, "not readable by everyone: fails for who may not read it, as an emulator has to")
	}
	return notes
}

// list returns every name of a directory that could be a command, sorted; none for a missing
// directory.
func (s *scanner) list(dir string) ([]finding, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	var found []finding
	for _, e := range entries {
		if f, ok := s.look(filepath.Join(dir, e.Name())); ok {
			found = append(found, f)
		}
	}
	return found, err
}

// pathDirs are the directories of a PATH without the farm's own, each once.
func (s *scanner) pathDirs(path string) []string {
	if path == "" {
		path = DefaultPath
	}
	var dirs []string
	for _, dir := range filepath.SplitList(path) {
		if dir = filepath.Clean(dir); filepath.IsAbs(dir) && !s.ours(dir) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// plain is the errno of an error that names a path, without that path.
func plain(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
