// Package preload is the route through LD_PRELOAD: two small libraries that the guest's own loader
// puts into each program.
//
// exec.so replaces the exec functions of libc, and puts the emulator in front of a guest's file:
// it is emu/resolve in C. uname.so replaces uname(2) and the files of /proc that repeat it. The
// route needs no kernel facility, and so serves where ptrace is refused and the farm is not
// enough. It cannot reach programs without a loader (static ones).
//
// The libraries are in lib/, beside their sources in c/. After a change, `make preload` makes them
// again (clang and lld of one version: scripts/preload-build); lib/SHA256SUMS records what they
// were made of. They are embedded, and Tree puts them into a bundle; Environment names them to the
// loader. The path in LD_PRELOAD contains $LIB or $PLATFORM, which ld.so expands in a different
// way for each ABI. Links of all these names lead to the directory of the ABI, so every program
// finds a library of its own class. musl expands nothing, and finds links with those literal
// names.
package preload

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/elfinfo"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/resolve"
	"binproxy/shim/farm"
	"binproxy/shim/proxy"
)

// The libraries' file names.
const (
	ExecHook  = config.ExecHook
	UnameHook = "uname.so"
)

// packed has all of lib/*/*.so; `make preload` writes it. Packed they are half as large, and a
// start does not pay for it: only code that makes a bundle or a farm unpacks it.
//
//go:embed lib/all.tar.gz
var packed []byte

// Set holds libraries by their names, ABI/exec.so and ABI/uname.so.
type Set map[string][]byte

// Libraries gives all of them.
func Libraries() Set {
	all, err := unpack(packed)
	if err != nil {
		panic(err) // a test has read it
	}
	return all
}

// unpack reads a ustar archive of plain files with short names: archive/tar would bring os/user,
// which a shim does not need.
func unpack(packed []byte) (Set, error) {
	const block = 512 // bytes; a header, and the unit to which files are padded
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	archive, err := io.ReadAll(unzipped)
	if err != nil {
		return nil, err
	}
	all := Set{}
	for len(archive) > block && archive[0] != 0 {
		name, _, _ := strings.Cut(string(archive[:100]), "\x00")
		size, err := strconv.ParseUint(strings.Trim(string(archive[124:136]), "\x00 "), 8, 31)
		if err != nil || block+int(size) > len(archive) {
			return nil, fmt.Errorf("the archive of the preload libraries is damaged at %q", name)
		}
		all[name] = archive[block:][:size:size]
		archive = archive[block+(int(size)+block-1)/block*block:]
	}
	return all, nil
}

// File is a file of a bundle, or a symbolic link. Name is relative to the bundle.
type File struct {
	Name string
	Data []byte
	Link string // the target, for a link
}

// Tree lists the libraries of a bundle for the guests: those of the guests, of the host, and of
// the ABIs that their kernels also run, as far as they exist.
func Tree(libraries Set, host *arch.ABI, guests []*arch.ABI) []File {
	var files []File
	var there []*arch.ABI
	for _, abi := range withFamily(host, guests) {
		for _, name := range []string{ExecHook, UnameHook} {
			data := libraries[abi.Name+"/"+name]
			if data == nil {
				continue
			}
			files = append(files, File{Name: config.PreloadDir + "/" + abi.Name + "/" + name, Data: data})
			if !slices.Contains(there, abi) {
				there = append(there, abi)
			}
		}
	}
	for _, abi := range there {
		files = append(files, links(abi, there)...)
	}
	return files
}

// families are the ABIs whose programs share a system.
var families = [...][]string{{"x86_64", "i386"}, {"aarch64", "armhf", "armel"}}

func withFamily(host *arch.ABI, guests []*arch.ABI) []*arch.ABI {
	var all []*arch.ABI
	add := func(abi *arch.ABI) {
		if abi != nil && !slices.Contains(all, abi) {
			all = append(all, abi)
		}
	}
	for _, abi := range append([]*arch.ABI{host}, guests...) {
		add(abi)
		for _, family := range families {
			if slices.Contains(family, abi.Name) {
				for _, name := range family {
					add(arch.Get(name))
				}
			}
		}
	}
	return all
}

// platforms are glibc's words for $PLATFORM on x86: the kernel's (AT_PLATFORM), or its own for
// some processors.
func platforms(abi *arch.ABI) []string {
	switch abi.Name {
	case "x86_64":
		return []string{"x86_64", "haswell", "xeon_phi"}
	case "i386":
		return []string{"i386", "i486", "i586", "i686"}
	}
	return nil
}

// token is the word in the ABI's path that ld.so expands. On x86 it is $PLATFORM, which differs
// between 32 and 64 bits in every distribution, while "lib" does not. Elsewhere $PLATFORM is not
// always set, or differs from one processor to the next.
func token(abi *arch.ABI) string {
	if platforms(abi) != nil {
		return "$PLATFORM"
	}
	return "$LIB"
}

// links lead from the token's expansions (lib64, lib/aarch64-linux-gnu, haswell) to the directory
// of the ABI whose loader expands it so.
func links(abi *arch.ABI, all []*arch.ABI) []File {
	dir := config.PreloadDir + "/" + abi.Name + "/"
	files := []File{{Name: dir + token(abi), Link: "."}} // musl's
	if token(abi) == "$LIB" {
		for _, name := range []string{"lib", "lib32", "lib64"} {
			files = append(files, File{Name: dir + name, Link: "."})
		}
	}
	for _, other := range all {
		to := "."
		if other != abi {
			to = "../" + other.Name
		}
		names := []string{other.GNU} // after lib/
		if token(abi) == "$PLATFORM" {
			names = platforms(other)
		}
		for _, name := range names {
			files = append(files, File{Name: dir + name, Link: to})
		}
	}
	return files
}

// Entry is the library's entry in LD_PRELOAD for a system of the ABI.
func Entry(bundle string, abi *arch.ABI, library string) string {
	return strings.Join([]string{bundle, config.PreloadDir, abi.Name, token(abi), library}, "/")
}

// Environment is env with the hooks in LD_PRELOAD, for programs of the ABI and those that share
// its system: the exec hook, and the uname hook if an identity is configured. They come last,
// since the libraries of others call on into them. The error names the library that the bundle
// lacks, and where it comes from.
func Environment(c config.Config, abi *arch.ABI, env []string) ([]string, error) {
	if strings.ContainsAny(c.Dir, ": \t\n$") {
		return nil, exit.Errorf(exit.Failed, "preload route: LD_PRELOAD cannot name %q; put the bundle into a directory without spaces, colons and dollar signs", c.Dir)
	}
	hooks := []string{ExecHook}
	getenv := func(name string) string { return value(env, name) }
	if !c.Truthful(getenv) && !identity.Configured(c.Identity, getenv).IsZero() {
		hooks = append(hooks, UnameHook)
	}
	for _, hook := range hooks {
		path := strings.Join([]string{c.Dir, config.PreloadDir, abi.Name, hook}, "/")
		if _, err := os.Stat(path); err != nil {
			return nil, exit.Errorf(exit.Failed, "preload route: no library for %s programs: %w; %s", abi.Name, err, remedy(abi))
		}
		env = with(env, Entry(c.Dir, abi, hook))
	}
	return env, nil
}

// remedy is the advice if a bundle has no library for the ABI.
func remedy(abi *arch.ABI) string {
	all := Libraries()
	if all[abi.Name+"/"+ExecHook] != nil {
		return "make the bundle anew, for that architecture too"
	}
	var names []string
	for name := range all {
		names = append(names, filepath.Dir(name))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return "there are none except for " + strings.Join(names, ", ") + "; take the supervise or the farm route"
}

func value(env []string, name string) string {
	for _, entry := range env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			return v
		}
	}
	return ""
}

// with adds the entry after those in LD_PRELOAD.
func with(env []string, entry string) []string {
	const key = "LD_PRELOAD="
	for i, e := range env {
		list, ok := strings.CutPrefix(e, key)
		if !ok {
			continue
		}
		if slices.Contains(strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == ' ' }), entry) {
			return env
		}
		if list != "" {
			entry = list + ":" + entry
		}
		env = slices.Clone(env)
		env[i] = key + entry
		return env
	}
	return append(slices.Clip(env), key+entry)
}

// ErrStatic is the reason to refuse a program.
var ErrStatic = errors.New("a static program, into which nothing can be loaded")

// Exec execs the program at path as proxy.Exec does, with the hooks in it, and returns only with
// an error. It refuses a static guest program: that would load nothing, and its first exec would
// fail without a visible reason.
func Exec(c farm.Call, path string, argv, env []string) error {
	req := resolve.Request{Path: path, NoArgv: len(argv) == 0}
	if len(argv) > 0 {
		req.Argv0 = argv[0]
	}
	plan, errno := proxy.Resolver(c).Resolve(c.Root, req)
	if errno != 0 {
		return exit.Errorf(exit.OfExec(errno), "%s: %w", path, errno)
	}
	abi := plan.ABI
	if abi == nil {
		abi = arch.Host()
	}
	if isStatic(plan.File.Path) {
		return exit.Errorf(exit.CannotRun, "preload route: %s is %w; take the supervise or the farm route", plan.File.Path, ErrStatic)
	}
	env, err := Environment(c.Config, abi, env)
	if err != nil {
		return err
	}
	return proxy.Exec(c, path, argv, env)
}

func isStatic(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := elfinfo.Read(f)
	return err == nil && info.Static()
}

// Write puts the files into the directory, which is the bundle. It replaces existing ones.
func Write(dir string, files []File) error {
	for _, f := range files {
		path := dir + "/" + f.Name
		if err := os.MkdirAll(path[:strings.LastIndexByte(path, '/')], 0o755); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var err error
		if f.Link != "" {
			err = os.Symlink(f.Link, path)
		} else {
			err = os.WriteFile(path, f.Data, 0o755)
		}
		if err != nil {
			return fmt.Errorf("preload route: %w", err)
		}
	}
	return nil
}
