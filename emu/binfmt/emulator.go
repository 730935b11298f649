package binfmt

import (
	"fmt"
	"path/filepath"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
)

// Emulator finds the emulator that an entry for the ABI can have: explicit where that is not "",
// else the one of the bundle that this program is in, else one beside the program or in PATH. It
// is a static program of the host: a dynamic one would look for its loader and libraries in the
// guest's root.
func Emulator(abi *arch.ABI, explicit string) (string, error) {
	path := explicit
	if path == "" {
		bundle, err := config.Own()
		if err != nil {
			return "", err
		}
		e, err := bundle.Emulator(abi)
		if err != nil {
			return "", fmt.Errorf("%w; or name it with --emulator FILE", err)
		}
		path = e.Path
	}
	if err := emulator.CheckStatic(path); err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// Default is the flags of an entry that nobody chose others for: the guest's argv[0] is kept, and
// the emulator works in every root.
const Default = "PF"

// Entries is one entry for each emulator that the ABIs need, with Default flags. Emulators maps
// QEMU's name of an architecture to a file; the others are searched for. ABIs that the host runs
// itself need none.
func Entries(abis []*arch.ABI, emulators map[string]string) ([]Entry, error) {
	var entries []Entry
	have := map[string]bool{}
	for _, abi := range abis {
		if abi.Native(arch.Host()) || have[abi.QEMU] {
			continue
		}
		have[abi.QEMU] = true
		path, err := Emulator(abi, emulators[abi.QEMU])
		if err != nil {
			return nil, err
		}
		entries = append(entries, ForABI(abi, path, Default))
	}
	return entries, nil
}
