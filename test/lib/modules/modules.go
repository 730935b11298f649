// Package modules gives tests the programs of Go modules that Debian does not package, or not in a
// current version: builders and their clients.
//
// Each module is built once, with the versions of its authors' own go.mod, in an empty module, and
// kept in the cache under a key of its version.
package modules

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"binproxy/test/lib/fixture"
	"binproxy/test/lib/need"
)

// A Module is a Go module of which some programs are built.
type Module struct {
	Path, Version string
	Programs      []string // packages below Path; the last element is the program's name
}

// The modules whose programs the tests use.
var (
	BuildKit    = Module{"github.com/moby/buildkit", "v0.34.2", []string{"cmd/buildkitd", "cmd/buildctl"}}
	RootlessKit = Module{"github.com/rootless-containers/rootlesskit/v3", "v3.3.0", []string{"cmd/rootlesskit"}}
	CRITools    = Module{"sigs.k8s.io/cri-tools", "v1.37.0", []string{"cmd/crictl"}}
	Kaniko      = Module{"github.com/GoogleContainerTools/kaniko", "v1.24.0", []string{"cmd/executor"}}
	Runc        = Module{"github.com/opencontainers/runc", "v1.1.5", []string{"contrib/cmd/recvtty"}}
)

// Dir is a directory with the module's programs, which tests share. It skips the test if they
// cannot be built.
func (m Module) Dir(t testing.TB) string {
	t.Helper()
	need.Program(t, "go", "golang-go")
	return m.fixture().For(t)
}

// Program is the path of one program of the module.
func (m Module) Program(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(m.Dir(t), name)
}

func (m Module) fixture() *fixture.Fixture {
	return &fixture.Fixture{
		Name: "modules/" + strings.ReplaceAll(m.Path, "/", "-"),
		What: "the Go module " + m.Path + "@" + m.Version,
		From: append([]string{m.Path, m.Version}, m.Programs...),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			fmt.Fprintf(os.Stderr, "modules: go build of %s@%s\n", m.Path, m.Version)
			if err := os.WriteFile(filepath.Join(work, "go.mod"), []byte("module programs\n"), 0o644); err != nil {
				return err
			}
			if err := os.Mkdir(made, 0o755); err != nil {
				return err
			}
			var packages, versions []string
			for _, program := range m.Programs {
				packages = append(packages, m.Path+"/"+program)
				versions = append(versions, m.Path+"/"+program+"@"+m.Version)
			}
			for _, args := range [][]string{
				append([]string{"get"}, versions...),
				append([]string{"build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", made + "/"}, packages...),
			} {
				if err := run(ctx, work, held, args...); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// run calls go, at a lower priority than the machine's other work.
func run(ctx context.Context, dir string, held *os.File, args ...string) error {
	cmd := exec.CommandContext(ctx, "nice", slices.Concat([]string{"go"}, args)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=", "GOARCH=")
	cmd.ExtraFiles = []*os.File{held}
	if out, err := cmd.CombinedOutput(); err != nil {
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("go %s: %w: %s", args[0], err, text[max(0, len(text)-2000):])
	}
	return nil
}
