// Package farm is the tree of links that lead guest commands to binproxy. It finds the file that a
// call through a link means, and it makes, checks and removes links, with a journal that can undo
// all of that.
//
// There are two kinds of links, both symbolic links to the program in the bundle. A farm mirrors
// the image's directories: FARM/usr/bin/date stands for /usr/bin/date, and a FARM/usr/bin early in
// PATH is found first. A link in a command's own place also catches absolute paths: /usr/bin/date
// is then the link, and the real file is beside it under the name that Aside returns. At exec time
// the names alone lead from one to the other; the journal is not read.
package farm

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"binproxy/emu/config"
	"binproxy/emu/resolve"
	"binproxy/emu/sys"
)

const asidePrefix = ".binproxy."

// maxLinks is how many symbolic links the kernel follows in one path (MAXSYMLINKS).
const maxLinks = 40

// Aside is the name of path's real file while a link is in its place. It is in the same directory,
// so that the file stays on the same file system and still finds what is beside it ($ORIGIN).
func Aside(path string) string {
	dir, base := filepath.Split(path)
	return dir + asidePrefix + base
}

// IsAside reports whether path is such a name.
func IsAside(path string) bool { return strings.HasPrefix(filepath.Base(path), asidePrefix) }

// Original is the name that a file had before it was put aside; not ok if it was not.
func Original(path string) (string, bool) {
	dir, base := filepath.Split(path)
	name, ok := strings.CutPrefix(base, asidePrefix)
	return dir + name, ok
}

// Call is one start of binproxy: its bundle, and the name that was called.
type Call struct {
	Config config.Config
	Root   Root
	Link   string // the path that led here; for a #! script, the interpreter's path
	// the file that the link stands for; "" if binproxy was called by one of its own names
	Guest string
}

// Locate finds out what this start of binproxy is, from AT_EXECFN and argv[0]. If the kernel ran
// us as the interpreter of a `#!` script, AT_EXECFN is the script, and argv[0] is the
// interpreter's path as written in the script.
func Locate(execfn, argv0 string) (Call, error) {
	link := execfn
	self := follow(link)
	if filepath.Base(self) != config.Binary && (link == "" || isScript(self) || leadsHere(argv0)) {
		link = argv0
		self = follow(link)
	}
	self, err := filepath.Abs(self)
	if err != nil {
		return Call{}, err
	}
	cfg, err := config.Load(filepath.Dir(self))
	c := Call{Config: cfg, Root: Root{self, cfg.AllFarms()}, Link: link}
	if abs, _ := filepath.Abs(link); abs != self {
		c.Guest = c.Root.standsFor(link)
	}
	return c, err
}

// Name is the command's name: the last part of the path that led here.
func (c Call) Name() string { return filepath.Base(c.Link) }

// follow follows the symbolic links that path itself is, but not those in its directories.
func follow(path string) string {
	for range maxLinks {
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		path = beside(path, target)
	}
	return path
}

// beside is the target of the link at path. The directories are not cleaned: the kernel must
// resolve a ".." after a link.
func beside(path, target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	dir, _ := filepath.Split(path)
	return dir + target
}

// leadsHere reports whether argv[0] is a path to binproxy. That decides if a script may not be
// read.
func leadsHere(argv0 string) bool {
	return strings.Contains(argv0, "/") && filepath.Base(follow(argv0)) == config.Binary
}

func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [2]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:]) == "#!"
}

// Root shows the files of our own root without the farm's links: a resolve.FS.
type Root struct {
	Self  string   // the program that the links lead to
	Farms []string // the farms' directories
}

// Real is the path that path means without the farm: path itself or, if its links lead to Self,
// the file that the link stands for.
func (r Root) Real(path string) (string, syscall.Errno) {
	real, probe := path, path
	for range maxLinks {
		target, err := os.Readlink(probe)
		if err != nil {
			return real, 0
		}
		target = beside(probe, target)
		if target != r.Self {
			probe = target
			continue
		}
		real = r.standsFor(probe)
		if real == "" {
			return "", syscall.ENOENT
		}
		probe = real
	}
	return "", syscall.ELOOP
}

// standsFor is the file that a link to Self at path stands for; "" for a link that is not ours.
func (r Root) standsFor(link string) string {
	if guest := r.mirrored(link); guest != "" {
		return guest
	}
	for range maxLinks {
		aside := Aside(link)
		if _, err := os.Lstat(aside); err == nil {
			return aside
		}
		target, err := os.Readlink(link)
		if err != nil {
			break
		}
		if link = beside(link, target); link == r.Self {
			break
		}
		if guest := r.mirrored(link); guest != "" {
			return guest
		}
	}
	return ""
}

// mirrored is the path that a farm's link stands for, "" for a link outside the farms.
func (r Root) mirrored(link string) string {
	if guest := r.cutFarm(link); guest != "" {
		return guest
	}
	if filepath.IsAbs(link) && filepath.Clean(link) == link && !strings.Contains(link, "/proc/") {
		// This is the usual case: a clean path without a farm in it. A farm that is reached
		// through one of the image's symbolic links is not searched.
		return ""
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(link))
	if err != nil {
		return ""
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return ""
	}
	return r.cutFarm(filepath.Join(dir, filepath.Base(link)))
}

func (r Root) cutFarm(link string) string {
	for _, farm := range r.Farms {
		if guest, ok := strings.CutPrefix(link, farm+"/"); ok && filepath.Clean(link) == link {
			return "/" + guest
		}
	}
	return ""
}

// Path is a PATH in which each directory follows its counterpart in the farms, if that exists and
// is not in the PATH yet. It goes directory by directory, so that a command is found where the
// image's own PATH finds it: a program without a link, such as a script of an unknown interpreter
// or a native program, still hides a command of the same name in a later directory.
func (r Root) Path(path string) string {
	dirs := filepath.SplitList(path)
	var farmed []string
	for _, dir := range dirs {
		for _, farm := range r.Farms {
			mirror := farm + filepath.Clean(dir)
			if !filepath.IsAbs(dir) || r.inFarm(dir) || slices.Contains(dirs, mirror) || slices.Contains(farmed, mirror) {
				continue
			}
			if fi, err := os.Stat(mirror); err == nil && fi.IsDir() {
				farmed = append(farmed, mirror)
			}
		}
		farmed = append(farmed, dir)
	}
	return strings.Join(farmed, string(filepath.ListSeparator))
}

func (r Root) inFarm(dir string) bool {
	return slices.ContainsFunc(r.Farms, func(farm string) bool { return strings.HasPrefix(dir, farm+"/") })
}

// Open finds the guest's file and reads its head, for resolve.FS. It returns EACCES for a file
// that may be executed but not read: an emulator must read it.
func (r Root) Open(path string) (resolve.File, syscall.Errno) {
	real, errno := r.Real(path)
	if errno != 0 {
		return resolve.File{}, errno
	}
	file := resolve.File{Path: real}
	if real != path {
		file.Name = real
	}
	head, err := sys.ReadExecutable(real, resolve.HeadSize)
	file.Head = head
	return file, err
}
