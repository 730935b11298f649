package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/elfinfo"
)

// FindEmulator looks for the ABI's emulator in the directories, in their order, under the names
// that distributions give it. The error says which architecture it is about, where it looked, and
// which package has it.
func FindEmulator(abi *arch.ABI, dirs []string) (string, error) {
	names := config.FileNames(abi)
	if len(names) == 0 {
		return "", fmt.Errorf("QEMU has no emulator for %s programs", abi.Name)
	}
	for _, dir := range dirs {
		for _, name := range names {
			path := filepath.Join(dir, name)
			if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("no emulator for %s: looked for %s in %s; "+
		"Debian and Ubuntu have it in qemu-user-static (from Debian 13 on in qemu-user), Fedora in qemu-user-static, Alpine in qemu-%s; or name it with --emulator FILE",
		abi.Name, strings.Join(names, " and "), strings.Join(dirs, ", "), abi.QEMU)
}

// SearchDirs is where emulators are looked for: next to the program, then the directories of PATH.
func SearchDirs(self string) []string {
	return append([]string{filepath.Dir(self)}, filepath.SplitList(os.Getenv("PATH"))...)
}

// CheckEmulator refuses a file that cannot be an emulator for this host; dynamic tells that it
// needs its loader and libraries.
func CheckEmulator(path string) (dynamic bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return false, errors.Join(err, fmt.Errorf("emulator %s: not a regular file", path))
	}
	info, err := elfinfo.Read(f)
	if err != nil {
		return false, fmt.Errorf("emulator %s: %w", path, err)
	}
	if host := arch.Host(); info.ABI() != host {
		name := "an unknown machine"
		if info.ABI() != nil {
			name = info.ABI().Name
		}
		return false, fmt.Errorf("emulator %s is a program for %s; it has to be one for the host, %s", path, name, host.Name)
	}
	if size := uint64(fi.Size()); size < info.End {
		return false, fmt.Errorf("emulator %s is damaged: it has %d bytes of %d or more; get it anew", path, size, info.End)
	}
	return !info.Static(), nil
}
