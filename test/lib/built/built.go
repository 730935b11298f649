// Package built gives tests the real program, built as `make build` builds it.
package built

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"binproxy/test/lib/cache"
)

// Binproxy builds the program, once in a test process, and returns its path: a file in the cache
// of this checkout. It replaces the file in one step, so that parallel test processes do not
// disturb each other. Under make test it is one file for all of them.
func Binproxy(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Environment is the variable that names a finished program, for all test processes of one run.
const Environment = "BINPROXY_TEST_PROGRAM"

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(Environment); path != "" {
		return path, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	kept, err := cache.Dir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(kept, "test-bin", fmt.Sprintf("%x", sha256.Sum256([]byte(root)))[:12])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "binproxy")
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	cmd := exec.Command(filepath.Join(root, "scripts", "build"), temp)
	cmd.Env = append(os.Environ(), "GOARCH=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/build: %w\n%s", err, out)
	}
	return path, os.Rename(temp, path)
})

// Root is the checkout's top directory.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// Guest cross-compiles a Go source file for a guest architecture into a static program at path.
func Guest(t testing.TB, goarch, source, path string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build for %s: %v\n%s", goarch, err, out)
	}
}
