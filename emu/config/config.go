// Package config reads and writes the one configuration file of a bundle: the uname identity, and
// where the emulators are.
//
// The file has lines of "key value"; empty lines and lines that start with # do not count. Every
// exec through a farm reads it, so a few string operations have to be enough to parse it:
//
//	release 4.15.0-112-generic
//	emulator aarch64 qemu-aarch64
//	emulator arm qemu-arm lib/ld-linux-x86-64.so.2
//	elf acablhaa qemu-aarch64
//	elf ababciaa qemu-arm lib/ld-linux-x86-64.so.2
//	farm /opt/farm
//	proc trace
//	only container
//
// If a key comes twice the last one counts, except for emulator and farm, which make lists. An
// emulator's paths are relative to the bundle; the third word is a dynamic one's loader, which has
// the libraries beside it. The lines elf repeat the emulators for the preload route's hook, which
// has no table of architectures: they name the bytes of a program's header by which the hook knows
// whose it is (arch.HeaderKey).
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
	"binproxy/emu/identity"
)

// Name is the configuration file's name in a bundle; Binary the program's.
const (
	Name   = "binproxy.conf"
	Binary = "binproxy"
)

// PreloadDir is the directory in a bundle with the libraries of the preload route.
const PreloadDir = "preload"

// ExecHook is the file of the library that routes execs, in the directory of each ABI there.
const ExecHook = "exec.so"

// DefaultDir is where the docs put a bundle in an image.
const DefaultDir = "/binproxy"

// Config is a bundle's configuration. Dir is the bundle. Farms lists the farms made with it
// besides Dir/farm. OnlyContainer is for a directory that containers share with their host: the
// identity is then shown only in containers.
type Config struct {
	Dir           string
	Identity      identity.Identity
	Emulators     []emulator.Emulator
	Farms         []string
	Proc          identity.Proc // how the kernel's files show the identity; "" is auto
	OnlyContainer bool
	// gives this process a path to a file of the bundle, where the bundle is not a directory but
	// follows the program in the program's own file; nil for a directory
	Inside func(name string) (path string, err error)
}

// Load reads the bundle's file. A bundle without one is an empty Config, not an error: emulators
// are then looked for by name.
func Load(dir string) (Config, error) {
	c := Config{Dir: dir}
	path := filepath.Join(dir, Name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if err := c.Parse(string(text)); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Own is the configuration of the bundle that this program is in.
func Own() (Config, error) {
	self, err := os.Executable()
	if err != nil {
		return Config{}, err
	}
	return Load(filepath.Dir(self))
}

// Parse reads the text of the bundle's file.
func (c *Config) Parse(text string) error {
	for n, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if err := c.set(line); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return c.Identity.Check()
}

func (c *Config) set(line string) error {
	key, value, _ := strings.Cut(line, " ")
	if value == "" {
		return fmt.Errorf("%q has no value", key)
	}
	switch key {
	case "farm":
		c.Farms = append(c.Farms, value)
		return nil
	case "proc":
		var err error
		c.Proc, err = identity.ParseProc(value)
		return err
	case "only":
		if value != "container" {
			return fmt.Errorf("only %q: the one place known is container", value)
		}
		c.OnlyContainer = true
		return nil
	case "emulator":
		words := strings.Fields(value)
		if len(words) != 2 && len(words) != 3 {
			return fmt.Errorf("%q: an emulator has an architecture, a path, and perhaps a loader", value)
		}
		c.Emulators = append(c.Emulators, emulator.Emulator{QEMU: words[0], Path: words[1], Loader: strings.Join(words[2:], "")})
		return nil
	case "elf":
		return nil // repeats the lines emulator
	}
	for _, f := range identity.Fields {
		if f.Key == key {
			*f.Of(&c.Identity) = value
			return nil
		}
	}
	return fmt.Errorf("unknown key %q", key)
}

// Marshal gives the file that Load reads as c. The same Config gives the same bytes.
func (c Config) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Written by binproxy; read at every exec. See docs/architecture.md.")
	for _, f := range identity.Fields {
		if v := *f.Of(&c.Identity); v != "" {
			fmt.Fprintln(&b, f.Key, v)
		}
	}
	if c.Proc != "" {
		fmt.Fprintln(&b, "proc", c.Proc)
	}
	for _, e := range c.Emulators {
		fmt.Fprintln(&b, line("emulator", e.QEMU, e))
	}
	for _, e := range c.Emulators {
		for _, key := range headerKeys(e) {
			fmt.Fprintln(&b, line("elf", key, e))
		}
	}
	for _, farm := range c.Farms {
		fmt.Fprintln(&b, "farm", farm)
	}
	if c.OnlyContainer {
		fmt.Fprintln(&b, "only container")
	}
	return b.Bytes()
}

func line(key, what string, e emulator.Emulator) string {
	return strings.TrimSpace(strings.Join([]string{key, what, e.Path, e.Loader}, " "))
}

// headerKeys identify the programs that the emulator runs, without the host's own, which need
// none.
func headerKeys(e emulator.Emulator) []string {
	var keys []string
	for _, abi := range arch.All() {
		key := abi.HeaderKey()
		if abi.QEMU == e.QEMU && key != arch.Host().HeaderKey() && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Check refuses what the file cannot hold: an identity that uname(2) could not hold, a farm with a
// newline in its name, an emulator with white space in it.
func (c Config) Check() error {
	for _, e := range c.Emulators {
		if oneWord(e.QEMU) && oneWord(e.Path) && (e.Loader == "" || oneWord(e.Loader)) {
			continue
		}
		return fmt.Errorf("emulator %q %q %q: %s cannot hold empty names, or white space in them", e.QEMU, e.Path, e.Loader, Name)
	}
	for _, farm := range c.Farms {
		if farm == "" || strings.Contains(farm, "\n") {
			return fmt.Errorf("farm %q: %s cannot hold an empty name, or one with a newline", farm, Name)
		}
	}
	return c.Identity.Check()
}

func oneWord(name string) bool {
	words := strings.Fields(name)
	return len(words) == 1 && words[0] == name
}

// Save writes the bundle's file in one step: a reader sees the old one or the new one.
func (c Config) Save() error {
	if err := c.Check(); err != nil {
		return err
	}
	path := filepath.Join(c.Dir, Name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(c.Marshal())
	// a machine that loses its power has the old file or the new one
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Truthful reports whether to show the kernel's own identity in spite of the configuration:
// outside of containers, if the file says "only container".
func (c Config) Truthful(getenv func(string) string) bool {
	return c.OnlyContainer && !identity.InContainer("/", getenv)
}

// Self is the path of the program in the bundle.
func (c Config) Self() string { return c.Dir + "/" + Binary }

// Farm is the default place of the farm.
func (c Config) Farm() string { return c.Dir + "/farm" }

// AllFarms lists every farm of the bundle, the default one first.
func (c Config) AllFarms() []string {
	return slices.Insert(slices.Clone(c.Farms), 0, c.Farm())
}

// Names reports whether the file names an emulator for the ABI.
func (c Config) Names(abi *arch.ABI) bool {
	return abi.QEMU != "" && slices.ContainsFunc(c.Emulators, func(e emulator.Emulator) bool { return e.QEMU == abi.QEMU })
}

// Preloads reports whether the bundle has the library of the preload route for the ABI's programs.
func (c Config) Preloads(abi *arch.ABI) bool {
	_, err := os.Stat(filepath.Join(c.Dir, PreloadDir, abi.Name, ExecHook))
	return err == nil
}

// Guest reports whether programs of the ABI go to an emulator: those that the host cannot run or
// the bundle has an emulator for, but never the host's own.
func (c Config) Guest(abi *arch.ABI) bool {
	host := arch.Host()
	return abi != host && (!abi.Native(host) || c.Names(abi))
}

// Emulator finds the emulator for the ABI: the one in the file, else one that emulator.Find finds
// in the bundle or in the directories of PATH.
func (c Config) Emulator(abi *arch.ABI) (emulator.Emulator, error) {
	for _, e := range c.Emulators {
		if e.QEMU == abi.QEMU {
			return c.located(e)
		}
	}
	path, err := emulator.Find(abi, emulator.Dirs(c.Dir))
	if err != nil {
		return emulator.Emulator{}, fmt.Errorf("%w; or make the bundle with --arch %s", err, abi.Name)
	}
	return emulator.Emulator{QEMU: abi.QEMU, Path: path}, nil
}

// located is the emulator with paths that this process can open.
func (c Config) located(e emulator.Emulator) (_ emulator.Emulator, err error) {
	if c.Inside != nil && !filepath.IsAbs(e.Path) {
		e.Path, err = c.Inside(e.Path)
		return e, err
	}
	e.Path = c.abs(e.Path)
	if e.Loader != "" {
		e.Loader = c.abs(e.Loader)
	}
	return e, nil
}

func (c Config) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return c.Dir + "/" + path
}
