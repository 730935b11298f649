package emulator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"binproxy/emu/arch"
)

// Parse reads the values of --emulator, each [ARCH=]FILE, into a map from QEMU's name of an
// architecture to the file. The last value for an architecture counts. The text before the first
// "=" is an ARCH if it is the name of one; otherwise it is part of FILE. A FILE without ARCH is
// for the only one of abis, which are the ABIs of the command, or for the ABI in its name. Parse
// refuses an architecture that is not in abis, unless abis is empty.
func Parse(values []string, abis []*arch.ABI) (map[string]string, error) {
	files := map[string]string{}
	for _, value := range values {
		abi, file := cut(value)
		switch {
		case file == "":
			return nil, fmt.Errorf("--emulator %s: names no file; it is [ARCH=]FILE", cmp.Or(value, "''"))
		case abi == nil && len(abis) == 1:
			abi = abis[0]
		case abi == nil:
			abi = ByName(file)
		}
		if abi == nil {
			return nil, fmt.Errorf("--emulator %s: whose? Its name is not qemu-ARCH: say which architecture it is for, --emulator ARCH=%s", value, value)
		}
		if same := func(a *arch.ABI) bool { return a.QEMU == abi.QEMU }; len(abis) > 0 && !slices.ContainsFunc(abis, same) {
			return nil, fmt.Errorf("--emulator %s is for %s: --arch does not name that architecture", value, abi.Name)
		}
		files[abi.QEMU] = file
	}
	return files, nil
}

// cut cuts [ARCH=]FILE; the ABI is nil where there is no ARCH.
func cut(value string) (abi *arch.ABI, file string) {
	if name, file, ok := strings.Cut(value, "="); ok {
		if abi, err := arch.Parse(name); err == nil {
			return abi, file
		}
	}
	return nil, value
}
