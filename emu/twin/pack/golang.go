package pack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/twin"
)

// release reports whether a program is a tool of a Go toolchain that no package brought.
func (q program) release() bool { return q.Package == noPackage }

const noPackage = "-"

// toolchains finds the tools of Go toolchains.
func (p *packer) toolchains(list []string) error {
	for _, goroot := range list {
		if !strings.Contains(goroot, "/") {
			var err error
			if goroot, err = fetch(strings.TrimPrefix(goroot, "go")); err != nil {
				return err
			}
		}
		version := twin.GoVersion(p.root, goroot)
		if version == "" {
			return fmt.Errorf("%s is no toolchain of a release of Go: its file VERSION does not name one", goroot)
		}
		tools := filepath.Join(goroot, "pkg/tool/linux_"+arch.Host().GOARCH)
		for _, name := range twin.ByName("go-compile").Names {
			from := filepath.Join(tools, strings.TrimPrefix(name, "go-"))
			if !isFile(from) {
				p.skip(name, "not in %s", tools)
				continue
			}
			q := program{twin.Twin{Name: name, ABI: twin.AnyABI, Major: version}, from}
			q.Path, q.Package, q.Version = filepath.Join("any", version, name), noPackage, version
			p.programs = append(p.programs, q)
		}
	}
	return nil
}

// fetch has the host's go command fetch the toolchain of a release, which it checks and keeps, and
// gives its GOROOT.
func fetch(version string) (string, error) {
	cmd := exec.Command("go", "env", "GOROOT")
	cmd.Dir = "/" // no module's
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=go"+version, "GOFLAGS=")
	cmd.Stderr = os.Stderr // it says what it fetches
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("the go command cannot fetch Go %s: %w; a GOROOT can be named instead", version, err)
	}
	return strings.TrimSpace(string(out)), nil
}
