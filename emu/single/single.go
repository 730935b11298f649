// Package single reads and writes files that contain binproxy and all that it needs: the program,
// emulators, binproxy.conf, and an index of them.
//
// The kernel loads such a file as the program at its start, and ignores the rest. A trailer of
// fixed size at the end leads to the index. So a program without one, as in a bundle, finds that
// out by one short read. An emulator cannot be executed from inside the file: it is copied to a
// sealed file in memory (memfd_create(2)) when it is first needed, and exists as long as the
// process that needed it.
package single

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// ErrPlain means that the program is not a single file: no part follows it. ErrDamaged means that
// it is one, but that its parts have changed.
const (
	ErrPlain   = exit.Sentinel("nothing follows the program")
	ErrDamaged = exit.Sentinel("is damaged")
)

// file is a single file.
type file struct {
	path   string
	parts  []part
	memory map[string]*os.File // copies of its parts
}

// Config is the configuration of the program at self: its own if it is a single file, else that of
// the bundle that it is in.
func Config(self string) (config.Config, error) {
	c, err := Own(self)
	if errors.Is(err, ErrPlain) {
		return config.Load(filepath.Dir(self))
	}
	return c, err
}

// Own is the configuration in the single file at self; ErrPlain if it is not one.
func Own(self string) (config.Config, error) {
	f, err := read(self)
	if err != nil {
		return config.Config{}, err
	}
	conf, err := f.part(config.Name)
	if err != nil {
		return config.Config{}, err
	}
	var text bytes.Buffer
	if err := f.copy(&text, conf); err != nil {
		return config.Config{}, err
	}
	c := config.Config{Dir: filepath.Dir(self), Inside: f.inMemory}
	if err := c.Parse(text.String()); err != nil {
		return c, f.damaged(err)
	}
	return c, nil
}

// CopyProgram copies the program at self, without the parts after it, and gives its size.
func CopyProgram(w io.Writer, self string) (int64, error) {
	f, err := read(self)
	if errors.Is(err, ErrPlain) {
		in, err := os.Open(self)
		if err != nil {
			return 0, err
		}
		defer in.Close()
		return io.Copy(w, in)
	}
	if err != nil {
		return 0, err
	}
	return f.parts[0].size, f.copy(w, f.parts[0])
}

// read reads the index of the file at path.
func read(path string) (*file, error) {
	f := &file{path: path, memory: map[string]*os.File{}}
	in, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return f, err
	}
	var trailer [trailerSize]byte
	end := fi.Size() - int64(trailerSize)
	if end < 0 {
		return f, ErrPlain
	}
	if _, err := in.ReadAt(trailer[:], end); err != nil {
		return f, err
	}
	size, sum, ok := parseTrailer(trailer[:])
	if !ok {
		return f, ErrPlain
	}
	if size > maxIndex || size > end {
		return f, f.damaged(errors.New("the index is said to be larger than it can be"))
	}
	index := make([]byte, size)
	if _, err := in.ReadAt(index, end-size); err != nil {
		return f, err
	}
	if addTo(0, index) != sum {
		return f, f.damaged(errors.New("the index is not what its sum says"))
	}
	if f.parts, err = parseIndex(index, end-size); err != nil {
		return f, f.damaged(err)
	}
	return f, nil
}

func (f *file) damaged(err error) error {
	return fmt.Errorf("%s %w: %w; copy it anew, or make it anew with `binproxy bundle`", f.path, ErrDamaged, err)
}

// part finds a part, but never the program, which is the first.
func (f *file) part(name string) (part, error) {
	for _, p := range f.parts[1:] {
		if p.name == name {
			return p, nil
		}
	}
	return part{}, f.damaged(fmt.Errorf("%s is not in it: %w", name, fs.ErrNotExist))
}

// copy copies a part and checks its sum.
func (f *file) copy(w io.Writer, p part) error {
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	copied := part{}
	if _, err := io.Copy(&summing{w, &copied}, io.NewSectionReader(in, p.offset, p.size)); err != nil {
		return err
	}
	if copied.size != p.size || copied.sum != p.sum {
		return f.damaged(fmt.Errorf("%s is not what its sum says", p.name))
	}
	return nil
}

// inMemory gives this process a path by which the part can be executed, while the file is in use.
func (f *file) inMemory(name string) (string, error) {
	if f.memory[name] == nil {
		p, err := f.part(name)
		if err != nil {
			return "", err
		}
		m, err := sys.Memory(name, nil)
		if err != nil {
			return "", fmt.Errorf("%s: %s in memory: %w (see /proc/sys/vm/memfd_noexec)", f.path, name, err)
		}
		if err := errors.Join(f.copy(m, p), sys.Seal(m)); err != nil {
			m.Close()
			return "", err
		}
		f.memory[name] = m
	}
	return "/proc/self/fd/" + strconv.Itoa(int(f.memory[name].Fd())), nil
}
