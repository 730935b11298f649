package emulator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
)

// missing means that no emulator was found.
type missing string

func (m missing) Error() string        { return string(m) }
func (m missing) Is(target error) bool { return target == fs.ErrNotExist }

// Dirs lists where emulators are looked for: beside binproxy, then in the directories of PATH.
func Dirs(beside string) []string {
	return append([]string{beside}, filepath.SplitList(os.Getenv("PATH"))...)
}

// Find looks for the ABI's emulator in the directories, in their order, under the names that
// distributions give it. It skips relative directories: a file in someone's working directory must
// not become everybody's emulator. The error (fs.ErrNotExist) names the architecture, the places
// that were searched, and the packages that have the emulator.
func Find(abi *arch.ABI, dirs []string) (string, error) {
	names := Names(abi)
	if len(names) == 0 {
		return "", missing("QEMU has no emulator for " + abi.Name + " programs")
	}
	for _, dir := range dirs {
		for _, name := range names {
			path := filepath.Join(dir, name)
			if fi, err := os.Stat(path); filepath.IsAbs(dir) && err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", missing(fmt.Sprintf("no emulator for %s: looked for %s in %s; "+
		"Debian and Ubuntu have it in qemu-user-static (from Debian 13 on in qemu-user), Fedora in qemu-user-static, Alpine in qemu-%s",
		abi.Name, strings.Join(names, " and "), strings.Join(dirs, ", "), abi.QEMU))
}

// Check refuses a file that cannot be an emulator for this host; dynamic reports whether it needs
// its loader and libraries.
func Check(path string) (dynamic bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("emulator: %w", err)
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

// CheckStatic refuses what Check refuses, and an emulator that needs its loader and libraries.
func CheckStatic(path string) error {
	dynamic, err := Check(path)
	if err == nil && dynamic {
		return fmt.Errorf("emulator %s is dynamically linked: in a foreign root it would not find its libraries; name a static one (--emulator FILE)", path)
	}
	return err
}
