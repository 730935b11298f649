package binfmt

import (
	"fmt"
	"path/filepath"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
)

// Emulator finds the emulator for an entry of the ABI: explicit where that is not "", else the one
// of the bundle that this program is in, else one beside the program or in PATH. It has to be a
// static program of the host: a dynamic one would look for its loader and libraries in the guest's
// root.
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

// Default is the flags of an entry by default: the guest's argv[0] is kept, and the emulator works
// in every root.
const Default = "PF"

// Entries gives one entry, with Default flags, for each emulator that the ABIs need. emulators
// maps QEMU's name of an architecture to a file; others are searched for. ABIs that the host
// itself runs need none.
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
