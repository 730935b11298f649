package uml

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"binproxy/emu/apt"
	"binproxy/emu/elfinfo"
)

// kernelPackage is Debian's package of a kernel; cPackage has the loader and the C library that
// the kernel is linked with.
const (
	kernelPackage = "user-mode-linux"
	cPackage      = "libc6"
)

// fetchedModules are the modules of the package that are kept: those that a guest's PID 1 loads,
// and FUSE. All modules would be 160 MB.
var fetchedModules = []string{"overlay", "binfmt_misc", "fuse"}

// Fetch loads the kernel that Debian's next release has as a package, and returns its path in the
// cache. The kernel is linked with that release's C library, so Fetch loads that and its loader,
// too. The kernel runs by them, like an emulator of a bundle.
func Fetch(progress io.Writer) (string, error) {
	return locked(BuildOptions{Progress: progress}, (*builder).fetch)
}

func (b *builder) fetch() (string, error) {
	d, err := b.find([]place{nextRelease, unstable}, func(l *apt.Lists) (*debian, error) { return named(b.ctx, l, kernelPackage) })
	if err != nil {
		return "", fmt.Errorf("no package %s: %w; make a kernel with binproxy uml kernel build --source FILE", kernelPackage, err)
	}
	dir := filepath.Join(b.cache, d.name+"_"+d.version)
	if _, err := Open(filepath.Join(dir, "linux")); err == nil {
		b.progress("%s %s is there already", d.name, d.version)
		return filepath.Join(dir, "linux"), nil
	}
	cleanUp, err := b.begin()
	if err != nil {
		return "", err
	}
	defer cleanUp()
	debs, err := b.download(d, cPackage)
	if err != nil {
		return "", err
	}
	for _, deb := range debs {
		if err := b.command(b.work, "dpkg-deb", "-x", deb, "package"); err != nil {
			return "", err
		}
	}
	made := filepath.Join(b.work, "made")
	release, err := pick(filepath.Join(b.work, "package"), made)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", d.name, d.version, err)
	}
	if err := replace(made, dir); err != nil {
		return "", err
	}
	b.progress("fetched %s", release)
	return filepath.Join(dir, "linux"), nil
}

// pick takes from the packages' files what a kernel needs to run, and returns its release. It
// takes the kernel, its loader and libraries, and its modules.
func pick(from, to string) (release string, err error) {
	kernel := filepath.Join(to, "linux")
	if err := move(filepath.Join(from, debianKernel), kernel); err != nil {
		return "", err
	}
	if err := pickLibraries(from, kernel, filepath.Join(to, ownLibs)); err != nil {
		return "", err
	}
	k, err := Open(kernel)
	if err != nil {
		return "", err
	}
	return k.Release, pickModules(filepath.Join(from, debianModules, k.Release), filepath.Join(to, ownModules, k.Release))
}

// pickLibraries takes the loader and the libraries that a program is linked with, and the
// libraries that these need. A static program has none.
func pickLibraries(from, program, to string) error {
	interp, err := interpreter(program)
	if err != nil || interp == "" {
		return err
	}
	there := map[string]string{} // a library's file by its name
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), ".so") {
			there[d.Name()] = path
		}
		return err
	})
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	var take func(file string, names []string) error
	take = func(file string, names []string) error {
		for _, name := range names {
			if taken[name] {
				continue
			}
			taken[name] = true
			if there[name] == "" {
				return fmt.Errorf("%s needs %s, which is not in %s", filepath.Base(file), name, cPackage)
			}
			needs, err := needed(there[name])
			if err == nil {
				err = errors.Join(take(there[name], needs), move(there[name], filepath.Join(to, name)))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	needs, err := needed(program)
	if err != nil {
		return err
	}
	return take(program, append(needs, filepath.Base(interp)))
}

// needed returns the libraries that an ELF file names.
func needed(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := elfinfo.Needed(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// pickModules takes the modules that are kept, the modules that they need, and the index of both.
func pickModules(from, to string) error {
	index, err := os.ReadFile(filepath.Join(from, modulesIndex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without modules
	}
	if err != nil {
		return err
	}
	var keep []string
	for _, name := range fetchedModules {
		keep = append(keep, dependencies(string(index), name)...)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(index)) {
		path, _, _ := strings.Cut(line, ":")
		if !slices.Contains(keep, path) {
			continue
		}
		kept.WriteString(line)
		if err := move(filepath.Join(from, path), filepath.Join(to, path)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, modulesIndex), []byte(kept.String()), 0o644)
}

// move moves a file into a directory, which it makes.
func move(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Rename(from, to)
}
