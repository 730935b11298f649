package applet

import (
	"fmt"
	"slices"
	"strings"

	"binproxy/emu/arch"
)

// Emulators reads the values of --emulator, [ARCH=]FILE each, into a map from QEMU's name of an
// architecture to the file. ABIs are the ones that the command is about; with one of them, ARCH
// may be left out.
func Emulators(values []string, abis []*arch.ABI) (map[string]string, error) {
	files := map[string]string{}
	for _, value := range values {
		name, file, named := strings.Cut(value, "=")
		abi, err := arch.Parse(name)
		switch {
		case value == "" || named && err == nil && file == "":
			return nil, fmt.Errorf("--emulator %s: names no file; it is [ARCH=]FILE", value)
		case named && err == nil:
			files[abi.QEMU] = file
		case len(abis) == 1:
			files[abis[0].QEMU] = value
		default:
			return nil, fmt.Errorf("--emulator %s: with several architectures, say which one it is for: ARCH=FILE", value)
		}
	}
	for qemu := range files {
		if !slices.ContainsFunc(abis, func(a *arch.ABI) bool { return a.QEMU == qemu }) {
			return nil, fmt.Errorf("--emulator for %s: --arch does not name that architecture", qemu)
		}
	}
	return files, nil
}
