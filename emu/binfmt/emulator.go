package binfmt

import (
	"fmt"
	"os"
	"path/filepath"

	"binproxy/emu/arch"
	"binproxy/emu/bundle"
	"binproxy/emu/config"
)

// Emulator finds the emulator that an entry for the ABI can have: explicit where that is not "",
// else the one of the bundle that this program is in, else one under a distribution's name beside
// the program or in PATH. It is a static program of the host: a dynamic one would look for its
// loader and libraries in the guest's root.
func Emulator(abi *arch.ABI, explicit string) (string, error) {
	path, err := find(abi, explicit)
	if err != nil {
		return "", err
	}
	dynamic, err := bundle.CheckEmulator(path)
	if err != nil {
		return "", err
	}
	if dynamic {
		return "", fmt.Errorf("emulator %s is dynamically linked: in a foreign root it would not find its libraries; name a static one (--emulator FILE)", path)
	}
	return filepath.Abs(path)
}

func find(abi *arch.ABI, explicit string) (string, error) {
	if explicit != "" {
		return explicit, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cfg, err := config.Load(filepath.Dir(self))
	if err != nil {
		return "", err
	}
	if cfg.Names(abi) {
		e, err := cfg.Emulator(abi)
		return e.Path, err
	}
	return bundle.FindEmulator(abi, bundle.SearchDirs(self))
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
		emulator, err := Emulator(abi, emulators[abi.QEMU])
		if err != nil {
			return nil, err
		}
		entries = append(entries, ForABI(abi, emulator, Default))
	}
	return entries, nil
}
