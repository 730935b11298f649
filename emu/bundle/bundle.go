// Package bundle makes the directory that a Dockerfile ADDs: the program, an emulator for each
// guest architecture, the links sh and uname, and the configuration file.
//
// The bundle is written beside its destination and moved there in one step, so that it is complete
// or missing. Nothing in it depends on when or where it was made: modes are set, times are
// SOURCE_DATE_EPOCH or a constant, names are our own.
package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
	"binproxy/emu/growing"
	"binproxy/emu/identity"
	"binproxy/emu/loader"
	"binproxy/emu/single"
	"binproxy/emu/sys"
	"binproxy/emu/twin"
	"binproxy/emu/twin/pack"
)

// Links are the names in a bundle that lead to the program: shims that act under their own name.
var Links = []string{"sh", "uname"}

// libDir contains the loader and the libraries of dynamic emulators.
const libDir = "lib"

// Options describe the content of a bundle.
type Options struct {
	ABIs []*arch.ABI
	// for a QEMU name of an architecture, the emulator's file; others are searched for
	Emulators map[string]string
	Identity  identity.Identity
	Proc      identity.Proc // how the kernel's files show the identity
	Self      string        // the program's own file
	Extra     []Extra
	Twins     *pack.Options // which twins to include; nil for none
	TwinsFrom string        // a directory of twins to include as it is; "" for none
}

// Extra is another file of the bundle: a regular file with Data, or a symbolic link. Its name is
// relative to the bundle.
type Extra struct {
	Name string
	Data []byte
	Link string // the target of a link
}

// File is one file of a bundle, for the listing. Size is in bytes.
type File struct {
	Name string
	Size int64
	From string // the file that it is a copy of, or the target of a link
}

// Make writes the bundle to dir. dir may be missing, empty, or contain an earlier bundle, which is
// replaced. Make returns the files of the bundle.
func Make(dir string, o Options) ([]File, error) {
	if err := o.Identity.Check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return nil, err
	}
	draft, err := growing.NewDraft(dir)
	if err != nil {
		return nil, err
	}
	defer draft.Close()
	if err := replaceable(draft.Beside(filepath.Base(dir)), dir); err != nil {
		return nil, err
	}
	b := builder{dir: draft.Dir}
	if err := b.fill(o); err != nil {
		return nil, err
	}
	if err := b.settle(); err != nil {
		return nil, err
	}
	return b.files, draft.Place()
}

// replaceable refuses a directory that contains something else than a bundle.
func replaceable(at, dir string) error {
	fi, err := os.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s exists and is no directory; choose another place with -o DIR", dir)
	}
	entries, err := os.ReadDir(at)
	if err != nil || len(entries) == 0 {
		return err
	}
	if _, err := os.Lstat(filepath.Join(at, config.Name)); err != nil {
		return fmt.Errorf("%s is not empty and no bundle (it has no %s); choose another place with -o DIR", dir, config.Name)
	}
	return nil
}

type builder struct {
	dir   string
	files []File
}

func (b *builder) fill(o Options) error {
	cfg := config.Config{Identity: o.Identity, Proc: o.Proc}
	if err := b.program(o.Self); err != nil {
		return err
	}
	for _, abi := range o.ABIs {
		if cfg.Names(abi) {
			continue // armhf and armel share an emulator
		}
		e, err := b.emulator(abi, o)
		if err != nil {
			return err
		}
		cfg.Emulators = append(cfg.Emulators, e)
	}
	for _, name := range Links {
		if err := os.Symlink(config.Binary, filepath.Join(b.dir, name)); err != nil {
			return err
		}
		b.files = append(b.files, File{Name: name, From: config.Binary})
	}
	for _, e := range o.Extra {
		if err := b.extra(e); err != nil {
			return err
		}
	}
	if err := b.twins(o); err != nil {
		return err
	}
	text := cfg.Marshal()
	b.files = append(b.files, File{Name: config.Name, Size: int64(len(text))})
	return os.WriteFile(filepath.Join(b.dir, config.Name), text, 0o644)
}

// twins packs twins; the listing has one line for all of them.
func (b *builder) twins(o Options) error {
	dir := filepath.Join(b.dir, twin.DirName)
	if o.TwinsFrom != "" {
		b.files = append(b.files, File{Name: twin.DirName, From: o.TwinsFrom})
		if _, err := os.Stat(filepath.Join(o.TwinsFrom, twin.ManifestName)); err != nil {
			return fmt.Errorf("%s has no twins (binproxy twin pack makes such a directory): %w", o.TwinsFrom, err)
		}
		return os.CopyFS(dir, os.DirFS(o.TwinsFrom))
	}
	if o.Twins == nil {
		return nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	r, err := pack.Fill(dir, *o.Twins)
	if err != nil {
		return fmt.Errorf("twins: %w", err)
	}
	b.files = append(b.files, File{twin.DirName, r.Size, fmt.Sprintf("%d programs of this host", len(r.Set.Twins))})
	return nil
}

func (b *builder) emulator(abi *arch.ABI, o Options) (emulator.Emulator, error) {
	path, dynamic, err := o.emulator(abi)
	if err != nil {
		return emulator.Emulator{}, err
	}
	e := emulator.Emulator{QEMU: abi.QEMU, Path: path}
	e.Path = e.InBundle()
	if err := b.copy(path, e.Path); err != nil || !dynamic {
		return e, err
	}
	e.Loader, err = b.libraries(path)
	return e, err
}

// emulator finds the file of the ABI's emulator.
func (o Options) emulator(abi *arch.ABI) (path string, dynamic bool, err error) {
	if path = o.Emulators[abi.QEMU]; path == "" {
		if path, err = emulator.Find(abi, emulator.Dirs(filepath.Dir(o.Self))); err != nil {
			return "", false, fmt.Errorf("%w; or name it with --emulator FILE", err)
		}
	}
	dynamic, err = emulator.Check(path)
	return path, dynamic, err
}

// libraries copies what the dynamic program at path needs, and returns the loader's name in the
// bundle.
func (b *builder) libraries(path string) (name string, err error) {
	libs, err := loader.Libraries(path)
	if err != nil {
		return "", fmt.Errorf("emulator %w", err)
	}
	interp := libs[0]
	slices.Sort(libs)
	for _, lib := range libs {
		name := filepath.Join(libDir, filepath.Base(lib))
		if b.has(name) {
			continue // copied for another emulator
		}
		if err := b.copy(lib, name); err != nil {
			return "", err
		}
	}
	return filepath.Join(libDir, filepath.Base(interp)), nil
}

func (b *builder) has(name string) bool {
	return slices.ContainsFunc(b.files, func(f File) bool { return f.Name == name })
}

// program copies the program, without any data appended to its file.
func (b *builder) program(self string) error {
	return b.fillFile(config.Binary, self, func(w io.Writer) (int64, error) { return single.CopyProgram(w, self) })
}

func (b *builder) copy(from, name string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return b.fillFile(name, from, func(w io.Writer) (int64, error) { return io.Copy(w, in) })
}

// fillFile makes an executable file of the bundle; from is for the listing.
func (b *builder) fillFile(name, from string, fill func(io.Writer) (int64, error)) error {
	to := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	n, err := fill(out)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	b.files = append(b.files, File{name, n, from})
	return nil
}

func (b *builder) extra(e Extra) error {
	to := filepath.Join(b.dir, e.Name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if e.Link != "" {
		// The listing omits them: there are many, and they lead to what is in it.
		return os.Symlink(e.Link, to)
	}
	b.files = append(b.files, File{Name: e.Name, Size: int64(len(e.Data))})
	return os.WriteFile(to, e.Data, 0o755)
}

// settle sets modes and times, so that the umask and the clock have no effect.
func (b *builder) settle() error {
	stamp, err := Timestamp()
	if err != nil {
		return err
	}
	var paths []string
	err = filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		paths = append(paths, path)
		mode := fs.FileMode(0o755)
		switch {
		case d.Type() == fs.ModeSymlink:
			return nil
		case d.Name() == config.Name, d.Name() == twin.ManifestName:
			mode = 0o644
		}
		return os.Chmod(path, mode)
	})
	slices.Reverse(paths) // a directory after its entries
	for _, path := range paths {
		if err == nil {
			err = sys.SetModTime(path, stamp)
		}
	}
	return err
}

// Timestamp is the time of every file that we make for others: SOURCE_DATE_EPOCH, or 1980-01-01,
// the earliest date that every archive format can hold.
func Timestamp() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
