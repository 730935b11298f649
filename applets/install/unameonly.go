package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
)

// unameName is the only command that the directory has besides binproxy itself.
const unameName = "uname"

// UnameOnly makes dir the directory of a uname with its own identity: a copy of the running
// binproxy, the link uname, and the configuration. It shows the release in containers and the
// truth outside, and so may be in a home directory that both share. An empty dir is
// ~/.local/fakeuname; an empty release records the running kernel's release and version.
func UnameOnly(dir, release string) error {
	self, err := os.Executable()
	if err != nil {
		return exit.Errorf(exit.Failed, "install: find binproxy itself (is /proc mounted?): %w", err)
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return exit.Errorf(exit.Failed, "install: no home directory (%w): say --farm DIR", err)
		}
		dir = filepath.Join(home, ".local", "fakeuname")
	}
	return unameOnly(self, dir, release)
}

func unameOnly(self, dir, release string) error {
	cfg, err := unameConfig(dir, release)
	if err != nil {
		return exit.Errorf(exit.Failed, "install: %w", err)
	}
	if err := foreign(self, cfg.Dir); err != nil {
		return exit.Errorf(exit.Failed, "install: %w", err)
	}
	// uname comes last: a directory of an interrupted start has no command that could answer
	// wrongly.
	for _, step := range []func() error{
		func() error { return os.MkdirAll(cfg.Dir, 0o755) },
		cfg.Save,
		func() error { return copyProgram(self, cfg.Self()) },
		func() error { return link(config.Binary, filepath.Join(cfg.Dir, unameName)) },
	} {
		if err := step(); err != nil {
			return exit.Errorf(exit.Failed, "install: %w", err)
		}
	}
	return nil
}

// unameConfig is the configuration of that directory.
func unameConfig(dir, release string) (config.Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return config.Config{}, err
	}
	if strings.ContainsRune(dir, filepath.ListSeparator) {
		return config.Config{}, fmt.Errorf("%s: a directory with a colon in its name cannot be in PATH", dir)
	}
	id := identity.Identity{Release: release}
	if release == "" {
		kernel, err := identity.Kernel()
		if err != nil {
			return config.Config{}, err
		}
		id = kernel.Recorded()
	}
	cfg := config.Config{Dir: dir, Identity: id, OnlyContainer: true}
	return cfg, cfg.Check()
}

// foreign refuses a directory that has other people's files under our names, so that none of
// theirs is overwritten.
func foreign(self, dir string) error {
	cfg, err := config.Load(dir)
	if err != nil {
		return err
	}
	_, err = os.Lstat(filepath.Join(dir, config.Name))
	ours := err == nil && cfg.OnlyContainer
	if err == nil && !ours {
		return fmt.Errorf("%s is a bundle; give the uname a directory of its own with --farm DIR", dir)
	}
	link := filepath.Join(dir, unameName)
	if to, err := os.Readlink(link); !errors.Is(err, fs.ErrNotExist) && to != config.Binary {
		return fmt.Errorf("%s is there already and not ours; move it away, or say --farm DIR", link)
	}
	program := filepath.Join(dir, config.Binary)
	if _, err := os.Lstat(program); err == nil && !ours && !same(self, program) {
		return fmt.Errorf("%s is there already and not ours; move it away, or say --farm DIR", program)
	}
	return nil
}

func same(a, b string) bool {
	fa, err := os.Stat(a)
	if err != nil {
		return false
	}
	fb, err := os.Stat(b)
	return err == nil && os.SameFile(fa, fb)
}

// copyProgram copies a program in one step: whoever starts it meanwhile gets the old or the new
// one.
func copyProgram(from, to string) (err error) {
	if same(from, to) {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(out.Name())
		}
	}()
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o755), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

// link makes the symbolic link at path, replacing an existing one.
func link(to, path string) error {
	if old, err := os.Readlink(path); err == nil && old == to {
		return nil
	}
	return os.Symlink(to, path)
}
