package binfmt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"binproxy/emu/arch"
	"binproxy/emu/sys"
)

// Dir is the usual place for binfmt_misc.
const Dir = "/proc/sys/fs/binfmt_misc"

// Registry is a mounted binfmt_misc.
type Registry struct{ Dir string }

// Host is the registry that is mounted in the usual place. The error says how to get one.
func Host() (Registry, error) {
	r := Registry{Dir}
	if _, err := os.Lstat(r.path("register")); err != nil {
		return r, fmt.Errorf("no binfmt_misc is mounted on %s: as root, `mount -t binfmt_misc binfmt_misc %s`; "+
			"or leave the host alone: binproxy binfmt --userns -- COMMAND: %w", Dir, Dir, err)
	}
	return r, nil
}

// Mount mounts the binfmt_misc of the caller's user namespace in the usual place. From Linux 6.7
// on that is a registry of the namespace's own, empty at first. The caller needs CAP_SYS_ADMIN and
// a mount namespace of its own.
func Mount() (Registry, error) {
	err := sys.Mount("binfmt_misc", Dir, "binfmt_misc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "")
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		err = fmt.Errorf("this kernel has no binfmt_misc for a user namespace of its own (Linux 6.7 and later have), "+
			"or what runs here forbids it: %w", err)
	} else if errors.Is(err, syscall.ENODEV) {
		err = fmt.Errorf("this kernel has no binfmt_misc, or its module is not loaded (modprobe binfmt_misc): %w", err)
	}
	return Registry{Dir}, err
}

func (r Registry) path(name string) string { return filepath.Join(r.Dir, name) }

// Enabled reports whether the registry as a whole is on.
func (r Registry) Enabled() (bool, error) {
	text, err := os.ReadFile(r.path("status"))
	return strings.TrimSpace(string(text)) == "enabled", err
}

// List reads every entry, in the directory's order.
func (r Registry) List() ([]Entry, error) {
	files, err := os.ReadDir(r.Dir)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, f := range files {
		if f.Name() == "register" || f.Name() == "status" {
			continue
		}
		e, err := r.Get(f.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // unregistered meanwhile
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Get reads one entry.
func (r Registry) Get(name string) (Entry, error) {
	if name != filepath.Base(name) || name == "register" || name == "status" {
		return Entry{}, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
	}
	text, err := os.ReadFile(r.path(name))
	if err != nil {
		return Entry{}, err
	}
	return Parse(name, string(text))
}

// Serving lists the enabled entries that take programs of the ABI.
func (r Registry) Serving(abi *arch.ABI) ([]Entry, error) {
	all, err := r.List()
	var serving []Entry
	for _, e := range all {
		if !e.Disabled && e.Serves(abi) {
			serving = append(serving, e)
		}
	}
	return serving, err
}

// Register makes an entry. It never replaces one of that name: the error is fs.ErrExist.
func (r Registry) Register(e Entry) error {
	line, err := e.Line()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(r.path(e.Name)); err == nil {
		return fmt.Errorf("entry %s: there is one, and it stays; `binproxy binfmt unregister %s` removes it: %w", e.Name, e.Name, fs.ErrExist)
	}
	if err := write(r.path("register"), line); err != nil {
		return registerError(e, err)
	}
	return nil
}

func registerError(e Entry, err error) error {
	switch {
	case errors.Is(err, syscall.EEXIST):
		return fmt.Errorf("entry %s: another process made it meanwhile, and it stays: %w", e.Name, fs.ErrExist)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("entry %s: registering needs root; or leave the host alone: binproxy binfmt --userns -- COMMAND: %w", e.Name, err)
	case errors.Is(err, syscall.ENOENT) && e.Has(FixBinary):
		return fmt.Errorf("entry %s: the kernel opens the interpreter %s now (flag F), and cannot: %w", e.Name, e.Interpreter, err)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("entry %s: this kernel refuses its pattern or one of its flags %q: %w", e.Name, e.Flags, err)
	}
	return fmt.Errorf("entry %s: %w", e.Name, err)
}

// Unregister removes the entry of that name.
func (r Registry) Unregister(name string) error {
	if _, err := r.Get(name); err != nil {
		return fmt.Errorf("entry %s: %w", name, err)
	}
	if err := write(r.path(name), "-1"); err != nil {
		return fmt.Errorf("entry %s: unregistering it: %w", name, err)
	}
	return nil
}

// write makes one write(2): the kernel takes each as a whole command.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
