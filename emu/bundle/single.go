package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
	"binproxy/emu/growing"
	"binproxy/emu/single"
	"binproxy/emu/sys"
)

// MakeSingle writes the file at path: the program, the emulators and the configuration in one. It
// replaces only an earlier single file. It returns its parts.
func MakeSingle(path string, o Options) ([]File, error) {
	s, err := planSingle(path, o.ABIs, o)
	if err != nil {
		return nil, err
	}
	return s.files, place(filepath.Dir(path), []*singleFile{s}, o.Self)
}

// MakeBuildKit writes to dir, for each architecture, the single file that BuildKit uses as its
// emulator. Without ABIs it takes all that a static emulator is found for.
func MakeBuildKit(dir string, o Options) (files []File, err error) {
	if len(o.ABIs) == 0 {
		o.ABIs = o.found()
	}
	var all []*singleFile
	for _, abi := range o.ABIs {
		name := single.BuildKitName(abi)
		if name == "" {
			return nil, fmt.Errorf("BuildKit has no platform for %s programs", abi.Name)
		}
		path := filepath.Join(dir, name)
		if slices.ContainsFunc(all, func(s *singleFile) bool { return s.path == path }) {
			continue // armhf and armel share an emulator
		}
		s, err := planSingle(path, []*arch.ABI{abi}, o)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, errors.New("no static emulator is found here for any architecture; Debian, Ubuntu and Fedora have them in qemu-user-static, or name one with --arch ARCH --emulator FILE")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	if err := place(dir, all, o.Self); err != nil {
		return nil, err
	}
	for _, s := range all {
		f := File{Name: filepath.Base(s.path), From: s.files[1].From}
		for _, part := range s.files {
			f.Size += part.Size
		}
		files = append(files, f)
	}
	return files, nil
}

// found are the guests of images that a static emulator is found for.
func (o Options) found() []*arch.ABI {
	return slices.DeleteFunc(arch.All(), func(a *arch.ABI) bool {
		if a.Native(arch.Host()) || single.BuildKitName(a) == "" {
			return true
		}
		_, dynamic, err := o.emulator(a)
		return err != nil || dynamic
	})
}

// singleFile is a single file to be made: its parts, the program first and the configuration last,
// and its emulators' files by their names in it.
type singleFile struct {
	path      string
	config    config.Config
	emulators map[string]string
	files     []File
}

// planSingle finds the parts of the file.
func planSingle(path string, abis []*arch.ABI, o Options) (*singleFile, error) {
	if err := o.Identity.Check(); err != nil {
		return nil, err
	}
	s := &singleFile{path: path, config: config.Config{Identity: o.Identity, Proc: o.Proc}, emulators: map[string]string{}}
	s.files = []File{{Name: config.Binary, From: o.Self}}
	for _, abi := range abis {
		if s.config.Names(abi) {
			continue
		}
		file, dynamic, err := o.emulator(abi)
		if err != nil {
			return nil, err
		}
		if dynamic {
			return nil, fmt.Errorf("emulator %s is dynamically linked: a single file cannot bring its libraries; take a static one (qemu-user-static), or make a directory", file)
		}
		e := emulator.Emulator{QEMU: abi.QEMU, Path: file}
		e.Path = e.InBundle()
		s.config.Emulators = append(s.config.Emulators, e)
		s.emulators[e.Path] = file
		s.files = append(s.files, File{Name: e.Path, From: file})
	}
	s.files = append(s.files, File{Name: config.Name})
	return s, s.replaceable(path)
}

// replaceable refuses a place that contains something else than a single file.
func (s *singleFile) replaceable(at string) error {
	_, err := single.Own(at)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, single.ErrDamaged):
		return nil
	case errors.Is(err, single.ErrPlain):
		return fmt.Errorf("%s exists and is no single file of binproxy's; remove it, or choose another place", s.path)
	}
	return err
}

// place writes the files beside their places in dir, and moves them there when all are complete.
func place(dir string, all []*singleFile, self string) error {
	draft, err := growing.NewDraft(filepath.Join(dir, config.Binary))
	if err != nil {
		return err
	}
	defer draft.Close()
	for _, s := range all {
		if err := s.write(filepath.Join(draft.Dir, filepath.Base(s.path)), self); err != nil {
			return err
		}
	}
	for _, s := range all {
		name := filepath.Base(s.path)
		if err := s.replaceable(draft.Beside(name)); err != nil {
			return err
		}
		if err := draft.Put(name); err != nil {
			return err
		}
	}
	return nil
}

// write writes the file to path, with a constant mode and time.
func (s *singleFile) write(path, self string) error {
	stamp, err := Timestamp()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	sizes, err := single.Write(out, self, s.config, s.emulators)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	for i, size := range sizes {
		s.files[i].Size = size
	}
	if err := os.Chmod(path, 0o755); err != nil {
		return err
	}
	return sys.SetModTime(path, stamp)
}
