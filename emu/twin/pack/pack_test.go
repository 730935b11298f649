package pack

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/packages"
	"binproxy/emu/twin"
	"binproxy/test/lib/need"
)

// host skips the test if no package database has the versions of this host's programs.
func host(t *testing.T) {
	t.Helper()
	root, done, err := packages.OpenRoot("/")
	require.NoError(t, err)
	defer done()
	need.Given(t, packages.Of(root).Kind != "", "a package database")
}

// A packed directory is whole, describes itself, and its programs run by its own loader and
// libraries.
func TestMake(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "a", "twins")
	o := Options{ABIs: []*arch.ABI{arch.Get("aarch64")}, Names: []string{"gzip", "text"}}
	r, err := Make(dir, o)
	require.NoError(t, err)
	assert.Positive(t, r.Size)
	set, err := twin.Load(dir)
	require.NoError(t, err)
	assert.Equal(t, *r.Set, *set)
	require.NoError(t, set.Check())
	require.NoError(t, set.Sums())
	require.NoError(t, set.CheckKernel("99.0.0"))
	if set.Kernel != "" {
		require.ErrorContains(t, set.CheckKernel("1.0.0"), "need Linux "+set.Kernel)
	}
	names := map[string]twin.Twin{}
	for _, one := range set.Twins {
		names[one.Name] = one
		assert.NotEmpty(t, one.Package)
		assert.Regexp(t, `^[0-9]`, one.Version)
		assert.Equal(t, twin.AnyABI, one.ABI)
	}
	for _, name := range []string{"gzip", "sed", "grep", "cat"} {
		require.Contains(t, names, name)
		cmd := exec.Command(filepath.Join(dir, set.Loader), "--library-path", filepath.Join(dir, "lib"), filepath.Join(dir, names[name].Path), "--version")
		cmd.Env = []string{}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Contains(t, string(out), "GNU")
	}
	assert.NotContains(t, names, "cc1")

	again, err := Make(dir, Options{ABIs: o.ABIs, Names: []string{"gzip"}})
	require.NoError(t, err, "an earlier set is replaced")
	assert.Len(t, again.Set.Twins, 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, names["gzip"].Path), []byte("spoiled"), 0o755))
	assert.ErrorContains(t, again.Set.Sums(), "is not the file that was packed")
}

// Twins that the guest does not have in the same version are left out.
func TestDrop(t *testing.T) {
	host(t)
	guest := t.TempDir()
	for name, text := range map[string]string{
		"var/lib/dpkg/status":         "Package: gzip\nStatus: install ok installed\nArchitecture: arm64\nVersion: 0.1-1\n\n",
		"var/lib/dpkg/info/gzip.list": "/bin/gzip\n",
		"etc/os-release":              "ID=nothing\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(guest, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(guest, name), []byte(text), 0o644))
	}
	o := Options{ABIs: []*arch.ABI{arch.Get("aarch64")}, Names: []string{"gzip", "sed"}, Root: guest}
	_, err := Make(filepath.Join(t.TempDir(), "x"), o)
	require.ErrorContains(t, err, "nothing is left to pack")
	require.ErrorContains(t, err, `the guest is nothing`)

	text, err := os.ReadFile("/etc/os-release")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(guest, "etc/os-release"), text, 0o644))
	_, err = Make(filepath.Join(t.TempDir(), "x"), o)
	require.ErrorContains(t, err, "gzip: the guest's is 0.1, this host's ")
	require.ErrorContains(t, err, "sed: the guest does not have it")
}

// apt's twins come with a file for each guest architecture, which names the architecture.
func TestConfig(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "twins")
	r, err := Make(dir, Options{ABIs: []*arch.ABI{arch.Get("aarch64")}, Names: []string{"apt-config", "gzip"}})
	require.NoError(t, err)
	need.Given(t, len(r.Set.Twins) == 2, "apt")
	require.NoError(t, r.Set.Check())
	require.NoError(t, r.Set.Sums())
	text, err := os.ReadFile(filepath.Join(dir, "apt/armhf.conf"))
	require.NoError(t, err)
	assert.Equal(t, "APT::Architecture \"armhf\";\n", string(text))
	_, err = Make(dir, Options{ABIs: []*arch.ABI{arch.Get("aarch64")}, Names: []string{"gzip"}})
	require.NoError(t, err)
	assert.NoDirExists(t, filepath.Join(dir, "apt"))
}

// The tools of a Go toolchain are packed if its GOROOT or its version is named. Here it is the go
// command's own, which it need not fetch.
func TestGo(t *testing.T) {
	host(t)
	out, err := exec.Command(need.Program(t, "go", "golang-go"), "env", "GOROOT").Output()
	require.NoError(t, err)
	need.Given(t, regexp.MustCompile(`^go[0-9.]+$`).MatchString(runtime.Version()), "a release of Go")
	dir := filepath.Join(t.TempDir(), "twins")
	for _, toolchain := range []string{strings.TrimSpace(string(out)), runtime.Version(), strings.TrimPrefix(runtime.Version(), "go")} {
		r, err := Make(dir, Options{Go: []string{toolchain}, Root: "/"})
		require.NoError(t, err)
		require.NoError(t, r.Set.Sums())
		names := map[string]bool{}
		for _, one := range r.Set.Twins {
			names[one.Name] = true
			assert.Equal(t, []string{twin.AnyABI, runtime.Version(), "-", runtime.Version()}, []string{one.ABI, one.Major, one.Package, one.Version})
		}
		assert.Subset(t, slices.Sorted(maps.Keys(names)), []string{"go-asm", "go-cgo", "go-compile", "go-link", "go-vet"})
		assert.NotContains(t, names, "gzip")
		said, err := exec.Command(filepath.Join(dir, "any", runtime.Version(), "go-link"), "-V").Output()
		require.NoError(t, err)
		assert.Contains(t, string(said), runtime.Version())
	}
	r, err := Make(dir, Options{Go: []string{runtime.Version()}, Names: []string{"gzip"}})
	require.NoError(t, err)
	assert.True(t, slices.ContainsFunc(r.Set.Twins, func(one twin.Twin) bool { return one.Name == "gzip" }))

	t.Setenv("GOPROXY", "off")
	_, err = Make(dir, Options{Go: []string{"1.99.99"}})
	require.ErrorContains(t, err, "the go command cannot fetch Go 1.99.99")
	_, err = Make(dir, Options{Go: []string{t.TempDir()}})
	require.ErrorContains(t, err, "is no toolchain of a release of Go")
}

func TestRefused(t *testing.T) {
	for name, complaint := range map[string]string{"bash": "bash may have no twin: HOSTTYPE", "nothing": "there is no rule"} {
		_, err := Make(filepath.Join(t.TempDir(), "x"), Options{Names: []string{name}})
		assert.ErrorContains(t, err, complaint)
	}
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "file"), nil, 0o644))
	_, err := Make(full, Options{})
	assert.ErrorContains(t, err, "is not empty and holds no twins")
}
