package twin

import (
	"encoding/binary"
	"path"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/packages"
)

// A GOROOT says which version its toolchain is, and what the tools take that nobody tells them
// anything else: cmd/dist compiles that into them, and leaves the source.
const (
	gorootMark    = "{goroot}"
	defaultsFile  = "src/internal/buildcfg/zbootstrap.go"
	defaultsLines = 100 // more than it has
	maxDefault    = 200 // longer than any of its lines
)

// GoVersion is the version of a GOROOT's toolchain, as go1.22.5; "" if it is none of a release.
func GoVersion(root packages.Root, goroot string) string {
	line, _ := packages.FirstLine(root, path.Join(goroot, "VERSION"), func(string) bool { return true })
	if !isRelease(line) || strings.Contains(line, " ") {
		return ""
	}
	return line
}

// isRelease reports whether a twin's major version is a release of Go: that of a toolchain without
// a package.
func isRelease(major string) bool { return strings.HasPrefix(major, "go") }

// toolchain reads the GOROOT of a tool. It says why its tools have no twins.
func (v *Verdict) toolchain(root packages.Root) string {
	goroot := path.Join(v.dir, "../../..")
	if v.major == "" {
		if v.major = GoVersion(root, goroot); v.major == "" {
			return goroot + "/VERSION names no release"
		}
	}
	n := 0
	packages.FirstLine(root, path.Join(goroot, defaultsFile), func(line string) bool {
		name, value, ok := strings.Cut(line, " = `")
		_, name, named := strings.Cut(name, "efault")
		switch value = strings.TrimSuffix(value, "`"); {
		case !ok || !named || value == "" || len(line) > maxDefault:
		case name == "GO_LDSO":
			v.ldso = value
		default:
			v.defaults = append(v.defaults, name+"="+value)
		}
		n++
		return n == defaultsLines
	})
	if v.defaults == nil {
		return path.Join(goroot, defaultsFile) + " does not tell its defaults"
	}
	v.defaults = append(v.defaults, "GOARCH="+v.abi.GOARCH)
	return ""
}

// goDefaults gives a Go tool's twin the defaults of the guest's own. It says what only the guest's
// own takes: its linker is for its own machine, and so names the loader that it was built for.
func (v *Verdict) goDefaults(c Call, e *Edit) string {
	if v.ldso != "" {
		args := strings.ReplaceAll(strings.Join(c.Args, " "), "=", " ") + " "
		if strings.Contains(args, "-buildmode pie ") || strings.Contains(args, "-linkmode internal ") {
			return "it would not name the loader " + v.ldso
		}
	}
	for _, entry := range v.defaults {
		if name, _, _ := strings.Cut(entry, "="); value(c.Env, name) == "" {
			e.Env = append(e.Env, entry)
		}
	}
	return ""
}

// builtBy is what programs contain that a release of Go has linked for an ABI (cmd/link's
// buildinfo): the size of a pointer, the byte order, and the version with its length.
func builtBy(version string, abi *arch.ABI) []byte {
	flags := byte(2)
	if abi.Big {
		flags |= 1
	}
	head := append([]byte("\xff Go buildinf:"), byte(abi.Class/8), flags)
	head = append(head, make([]byte, 16)...)
	return append(binary.AppendUvarint(head, uint64(len(version))), version...)
}

// owner finds the package of a file. The head of a Go program for arm does not say how it passes
// floats: it may be of armhf, too.
func (v *Verdict) owner(g Guest) (packages.Owner, error) {
	database, names := packages.At(v.facts.database, g.Root), v.Rule.packageNames(v.Name, v.major, g.ABI)
	o, err := database.Owner(g.Path, names, g.ABI)
	if err != nil && v.Rule.goroot && g.ABI.Name == "armel" {
		return database.Owner(g.Path, names, arch.Get("armhf"))
	}
	return o, err
}
