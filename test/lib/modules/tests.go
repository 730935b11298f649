package modules

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"binproxy/test/lib/fixture"
	"binproxy/test/lib/need"
)

// Tests is the test program of one package below the module's path, with one more file in it. The
// package's own files are copied into a module of their own: Go overlays no file of the module
// cache. What it imports is the module's, so no internal package can be among that.
func (m Module) Tests(t testing.TB, pkg, more string) string {
	t.Helper()
	need.Program(t, "go", "golang-go")
	text, err := os.ReadFile(more)
	if err != nil {
		t.Fatal(err)
	}
	f := fixture.Fixture{
		Name: "modules/tests-" + filepath.Base(pkg), Ext: ".test",
		What: "the tests of the Go package " + m.Path + "/" + pkg + "@" + m.Version,
		From: []string{m.Path, m.Version, pkg, filepath.Base(more), string(text)},
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			fmt.Fprintf(os.Stderr, "modules: go test -c of %s/%s@%s\n", m.Path, pkg, m.Version)
			if err := m.copyPackage(ctx, pkg, work); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(work, filepath.Base(more)), text, 0o644); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(work, "go.mod"), []byte("module tests\n"), 0o644); err != nil {
				return err
			}
			if err := run(ctx, work, held, "get", m.Path+"@"+m.Version); err != nil {
				return err
			}
			return run(ctx, work, held, "test", "-c", "-vet=off", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", made, ".")
		},
	}
	return f.For(t)
}

// copyPackage copies the Go files of a package into a directory.
func (m Module) copyPackage(ctx context.Context, pkg, to string) error {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", m.Path+"@"+m.Version).Output()
	if err != nil {
		return fmt.Errorf("go mod download of %s@%s: %w: %s", m.Path, m.Version, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(module.Dir, pkg, "*.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
