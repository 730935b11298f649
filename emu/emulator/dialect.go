package emulator

import (
	"path"
	"strings"

	"binproxy/emu/arch"
)

// dialect is how emulators of one kind are called. Each word but version is an option that
// precedes its value; it is "" where the kind has no such option.
type dialect struct {
	files    []string // how distributions call the file, in order of preference; * is QEMU's ARCH
	argv0    string   // the guest's argv[0]
	release  string   // the kernel release
	variable string   // a variable for the guest alone, NAME=VALUE
	splits   string   // the value of variable ends at these characters, and another one begins
	version  string   // prints which emulator it is, and ends
	root     string   // the variable that names a root with the guests' loaders
}

// dialects begins with QEMU's, which a file of an unknown name is taken for.
var dialects = [...]dialect{
	// linux-user/main.c of QEMU: arg_table, handle_arg_set_env
	{
		files: []string{"qemu-*-static", "qemu-*"},
		argv0: "-0", release: "-r", variable: "-E", splits: ",", version: "--version",
		root: "QEMU_LD_PREFIX",
	},
}

func (e Emulator) dialect() *dialect {
	for i := range dialects {
		if dialects[i].archIn(e.Path) != "" {
			return &dialects[i]
		}
	}
	return &dialects[0]
}

// archIn is the word for the architecture in the name of an emulator's file; "" for another name.
func (d *dialect) archIn(file string) string {
	for _, pattern := range d.files {
		before, after, _ := strings.Cut(pattern, "*")
		name, ok := strings.CutPrefix(path.Base(file), before)
		if name, behind := strings.CutSuffix(name, after); ok && behind {
			return name
		}
	}
	return ""
}

// ByName is the ABI in the name of an emulator's file, qemu-ARCH or qemu-ARCH-static; nil for
// another name.
func ByName(file string) *arch.ABI {
	for i := range dialects {
		if abi, err := arch.Parse(dialects[i].archIn(file)); err == nil && abi.QEMU != "" {
			return abi
		}
	}
	return nil
}

// Names lists the names that distributions give the ABI's emulator, in order of preference. It is
// empty where there is no emulator.
func Names(abi *arch.ABI) []string {
	if abi.QEMU == "" {
		return nil
	}
	var names []string
	for i := range dialects {
		for _, pattern := range dialects[i].files {
			names = append(names, strings.Replace(pattern, "*", abi.QEMU, 1))
		}
	}
	return names
}

// InBundle is the emulator's file name in a bundle. It shows the architecture and the dialect,
// whatever the file was called before.
func (e Emulator) InBundle() string {
	files := e.dialect().files
	return strings.Replace(files[len(files)-1], "*", e.QEMU, 1)
}
