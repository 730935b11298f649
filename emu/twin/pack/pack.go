// Package pack makes a directory of twins from the programs of this host: it finds those that the
// rules name, takes them with their loader and libraries, and records what each of them is.
package pack

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/emu/growing"
	"binproxy/emu/loader"
	"binproxy/emu/packages"
	"binproxy/emu/twin"
	"binproxy/third_party/hash/sha256"
)

// Options say what to pack.
type Options struct {
	ABIs  []*arch.ABI // the guests
	Names []string    // of sets, programs or compilers; empty for everything, unless Go is given
	Go    []string    // toolchains of Go: a GOROOT, which has a slash in it, or a version
	Root  string      // a guest; what does not match its programs is left out; "" for none
}

// Skipped is a program that was not packed, and the reason.
type Skipped struct{ Name, Why string }

// Result is what was packed.
type Result struct {
	Set     *twin.Set
	Size    int64
	Skipped []Skipped
}

// Make packs into dir, which must not exist, or be empty, or hold twins (which it replaces).
func Make(dir string, o Options) (Result, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return Result{}, err
	}
	draft, err := growing.NewDraft(dir)
	if err != nil {
		return Result{}, err
	}
	defer draft.Close()
	if err := replaceable(draft.Beside(filepath.Base(dir)), dir); err != nil {
		return Result{}, err
	}
	r, err := Fill(draft.Dir, o)
	if err != nil {
		return r, err
	}
	if err := os.Chmod(draft.Dir, 0o755); err != nil {
		return r, err
	}
	r.Set.Dir = dir
	return r, draft.Place()
}

func replaceable(at, dir string) error {
	if fi, err := os.Lstat(at); err == nil && !fi.IsDir() {
		return fmt.Errorf("%s exists and is no directory; choose another place with -o DIR", dir)
	}
	entries, err := os.ReadDir(at)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(at, twin.ManifestName)); err != nil {
		return fmt.Errorf("%s is not empty and holds no twins (it has no %s); choose another place with -o DIR", dir, twin.ManifestName)
	}
	return nil
}

// Fill packs into an empty directory.
func Fill(dir string, o Options) (Result, error) {
	root, done, err := packages.OpenRoot("/")
	if err != nil {
		return Result{}, err
	}
	defer done()
	p := packer{dir: dir, root: root, set: &twin.Set{Dir: dir, Host: arch.Host().Name, Vendor: twin.Vendor(root), Database: packages.Of(root).Kind}}
	if p.set.Database == "" {
		return Result{}, errors.New("this host has no package database that tells versions: neither dpkg's, nor apk's, nor rpm's")
	}
	if err := errors.Join(p.choose(o), p.toolchains(o.Go)); err != nil {
		return Result{}, err
	}
	if err := p.owners(); err != nil {
		return Result{}, err
	}
	if o.Root != "" {
		if err := p.drop(o); err != nil {
			return Result{}, err
		}
	}
	if len(p.programs) == 0 {
		return Result{p.set, 0, p.skipped}, errors.New("nothing is left to pack" + p.reasons())
	}
	err = p.copyAll()
	return Result{p.set, p.size, p.skipped}, err
}

// program is a program to pack. from is its path on this host.
type program struct {
	twin.Twin
	from string
}

// packer is a packing in progress.
type packer struct {
	dir      string
	root     packages.RootFD
	set      *twin.Set
	programs []program
	plugins  []program
	skipped  []Skipped
	sources  map[string]string // files in the directory, and their originals
	owner    map[string]packages.Owner
	size     int64
}

func (p *packer) skip(name, format string, args ...any) {
	p.skipped = append(p.skipped, Skipped{name, fmt.Sprintf(format, args...)})
}

func (p *packer) reasons() string {
	var b strings.Builder
	for _, s := range p.skipped {
		fmt.Fprintf(&b, "\n  %s: %s", s.Name, s.Why)
	}
	return b.String()
}

// choose finds the host's programs.
func (p *packer) choose(o Options) error {
	names, err := twin.Programs(o.Names)
	if err != nil {
		return err
	}
	for _, r := range twin.Rules() {
		if r.Never {
			continue
		}
		for _, name := range r.Names {
			if len(names)+len(o.Go) == 0 || slices.Contains(names, name) {
				p.find(r, name, o.ABIs)
			}
		}
	}
	return nil
}

func (p *packer) find(r *twin.Rule, name string, abis []*arch.ABI) {
	if !r.PerArch() {
		abis = []*arch.ABI{arch.Host()}
	}
	for _, abi := range abis {
		files := r.OnHost(name, abi)
		for _, f := range files {
			t := program{twin.Twin{Name: name, ABI: twin.AnyABI, Major: f.Major}, f.Path}
			place := "any"
			if r.PerArch() {
				t.ABI, place = abi.Name, abi.Name
			}
			t.Path = filepath.Join(place, f.Major, name)
			p.programs = append(p.programs, t)
			if plugin := filepath.Join(filepath.Dir(f.Path), twin.PluginName); name == "lto1" && isFile(plugin) {
				q := program{twin.Twin{Name: twin.PluginName, ABI: t.ABI, Major: f.Major}, plugin}
				q.Path = filepath.Join(place, f.Major, twin.PluginName)
				p.plugins = append(p.plugins, q)
			}
		}
		switch {
		case len(files) > 0:
		case r.PerArch():
			p.skip(name, "not on this host for %s; looked for %s", abi.Name, strings.Join(r.HostPaths(name, abi), " "))
		default:
			p.skip(name, "not on this host")
		}
	}
}

// owners finds the packages of what is to be packed, and drops files without one.
func (p *packer) owners() error {
	var files []string
	for _, q := range slices.Concat(p.programs, p.plugins) {
		files = append(files, q.from)
	}
	libraries, err := p.libraries()
	if err != nil {
		return err
	}
	p.owner, err = packages.Of(p.root).Owners(append(files, libraries...), arch.Host())
	if err != nil {
		return fmt.Errorf("this host's %w", err)
	}
	p.programs = slices.DeleteFunc(p.programs, func(q program) bool {
		_, ok := p.owner[q.from]
		if ok = ok || q.release(); !ok {
			p.skip(q.Name, "no package brought %s", q.from)
		}
		return !ok
	})
	for i := range p.programs {
		if q := &p.programs[i]; !q.release() {
			q.Package, q.Version = p.owner[q.from].Package, p.owner[q.from].Version
		}
	}
	return nil
}

// drop leaves out twins that no program of the guest matches.
func (p *packer) drop(o Options) error {
	root, done, err := packages.OpenRoot(o.Root)
	if err != nil {
		return err
	}
	defer done()
	p.programs = slices.DeleteFunc(p.programs, func(q program) bool {
		why := ""
		if !q.release() {
			why = p.set.Compare(q.Twin, root, o.ABIs)
		}
		if why != "" {
			p.skip(q.Name, "%s", why)
		}
		return why != ""
	})
	return nil
}

// libraries lists the loader and the libraries of all programs. The first is the loader.
func (p *packer) libraries() ([]string, error) {
	var all []string
	first := ""
	for _, q := range p.programs {
		interp, err := loader.Of(q.from)
		if err != nil {
			return nil, fmt.Errorf("%s: its loader: %w", q.from, err)
		}
		if interp == "" {
			continue // static
		}
		if first == "" {
			first = interp
		}
		list, err := needs(q.from)
		if err != nil {
			return nil, fmt.Errorf("%s: its libraries: %w", q.from, err)
		}
		for _, lib := range list {
			real, err := filepath.EvalSymlinks(lib)
			if err != nil {
				return nil, err
			}
			p.source("lib/"+filepath.Base(lib), real)
			all = append(all, real)
		}
	}
	if first == "" {
		return nil, nil
	}
	p.set.Loader = "lib/" + filepath.Base(first)
	return all, nil
}

// needs lists a program's loader and libraries, and the library that glibc before 2.34 opens by
// itself to look up users.
func needs(program string) ([]string, error) {
	list, err := loader.Libraries(program)
	for _, lib := range list {
		if users := filepath.Join(filepath.Dir(lib), "libnss_files.so.2"); strings.HasPrefix(filepath.Base(lib), "libc.so.") && isFile(users) {
			return append(list, users), err
		}
	}
	return list, err
}

func (p *packer) source(name, from string) {
	if p.sources == nil {
		p.sources = map[string]string{}
	}
	p.sources[name] = from
}

func (p *packer) copyAll() error {
	for i := range p.programs {
		if err := p.copy(&p.programs[i].File, p.programs[i].from); err != nil {
			return err
		}
		p.set.Twins = append(p.set.Twins, p.programs[i].Twin)
	}
	for _, q := range p.plugins {
		p.source(q.Path, q.from)
	}
	for _, name := range p.needed() {
		from := p.sources[name]
		o := p.owner[from]
		f := twin.File{Path: name, Package: cmp.Or(o.Package, "-"), Version: cmp.Or(o.Version, "-")}
		err := p.copy(&f, from)
		if err != nil {
			return err
		}
		p.set.Files = append(p.set.Files, f)
		if strings.HasPrefix(name, "lib/libc.so.") {
			if p.set.Kernel, err = oldestKernel(from); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(p.unhide(), p.configs()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, twin.ManifestName), p.set.Marshal(), 0o644)
}

// needed lists the names of the libraries and plug-ins, sorted; programs may have been dropped
// since these were found.
func (p *packer) needed() []string {
	need := map[string]bool{}
	for _, q := range p.programs {
		list, _ := needs(q.from) // it has worked before
		for _, lib := range list {
			need["lib/"+filepath.Base(lib)] = true
		}
	}
	for _, q := range p.plugins {
		need[q.Path] = slices.ContainsFunc(p.programs, func(one program) bool { return one.ABI == q.ABI })
	}
	var names []string
	for name := range p.sources {
		if need[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// unhide writes the library that shows a twin what its loader must not see.
func (p *packer) unhide() error {
	if p.set.Loader == "" {
		return nil
	}
	text, err := twin.Unhide(arch.Host().EMachine)
	if err != nil {
		return err
	}
	return p.write(twin.UnhideName, text)
}

// configs writes the configuration files that the rules of what is packed have for each guest
// architecture of the distribution.
func (p *packer) configs() error {
	for _, r := range twin.Rules() {
		if !slices.ContainsFunc(p.programs, func(q program) bool { return slices.Contains(r.Names, q.Name) }) {
			continue
		}
		for _, abi := range arch.All() {
			text := r.Config(abi)
			if text == "" || abi.Debian == "" {
				continue
			}
			if err := p.write(r.ConfigPath(abi), []byte(text)); err != nil {
				return err
			}
		}
	}
	return nil
}

// write makes a file that all twins share.
func (p *packer) write(name string, text []byte) error {
	sum := sha256.Sum256(text)
	p.set.Files = append(p.set.Files, twin.File{Path: name, Package: "-", Version: "-", Size: int64(len(text)), Sum: hex.EncodeToString(sum[:])})
	p.size += int64(len(text))
	to := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

func (p *packer) copy(f *twin.File, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	to := filepath.Join(p.dir, f.Path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	sum := sha256.New()
	f.Size, err = io.Copy(io.MultiWriter(out, sum), in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	f.Sum = hex.EncodeToString(sum.Sum(nil))
	p.size += f.Size
	return nil
}

// oldestKernel reads the oldest kernel that a library accepts from its note NT_GNU_ABI_TAG (GNU,
// 1: four words, the first 0 for Linux); "" if it has none.
func oldestKernel(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	notes, err := elfinfo.Notes(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	for _, n := range notes {
		if n.Name == "GNU" && n.Type == 1 && len(n.Desc) >= 16 {
			// the library is the host's
			word := func(i int) uint32 { return binary.NativeEndian.Uint32(n.Desc[4*i:]) }
			if word(0) != 0 {
				return "", nil
			}
			return fmt.Sprintf("%d.%d.%d", word(1), word(2), word(3)), nil
		}
	}
	return "", nil
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// Guests lists the architectures that this host has a cross compiler or cross binutils for.
func Guests() []*arch.ABI {
	var list []*arch.ABI
	for _, abi := range arch.All() {
		if abi == arch.Host() {
			continue
		}
		for _, name := range []string{"cc1", "as"} {
			if len(twin.ByName(name).OnHost(name, abi)) > 0 {
				list = append(list, abi)
				break
			}
		}
	}
	return list
}
