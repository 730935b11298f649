// Package release shows that what `make release` makes can be installed and used: each artefact in
// a root, a registry or a builder of the test's own.
package release

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/applets"
	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// tag is the release that the tests make, and version what its files say of it.
const tag, version = "v9.8.7-rc1", "9.8.7-rc1"

var made struct {
	sync.Mutex
	dir string
}

func TestMain(m *testing.M) { lab.Main(m) }

// dist is a release for this host, with one guest, made once for the package.
func dist(t *testing.T) string {
	t.Helper()
	need.Long(t)
	need.Root(t)
	emulators := debs.File(t, lab.Suite, host(), "qemu-user-static")
	made.Lock()
	defer made.Unlock()
	if made.dir == "" {
		dir := lab.Shared(t)
		makeRelease(t, dir, emulators)
		made.dir = dir
	}
	return made.dir
}

func host() string { return arch.Host().GOARCH }

func makeRelease(t *testing.T, dir, emulators string) {
	t.Helper()
	root, err := built.Root()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "go", "run", "./scripts/release", "-o", dir, "-archs", host(), "-hosts", host(),
		"-guests", registry.Guest, "-qemu", host()+"="+emulators)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "VERSION="+tag, "SOURCE_DATE_EPOCH=1700000000")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// file is an artefact for this host.
func file(t *testing.T, end string) string {
	t.Helper()
	path := filepath.Join(dist(t), "binproxy-"+version+"-linux-"+host()+end)
	require.FileExists(t, path)
	return path
}

func do(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

// The sums are right and name every file; a second release is the same bytes.
func TestSumsAndBytes(t *testing.T) {
	dir := dist(t)
	do(t, dir, "sha256sum", "--check", "--strict", "SHA256SUMS")
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	require.NoError(t, err)
	first := contents(t, dir)
	for name := range first {
		if !strings.Contains(name, "/blobs/") && !strings.HasSuffix(name, "/oci-layout") && name != "SHA256SUMS" {
			assert.Contains(t, string(sums), "  "+name+"\n")
		}
	}
	again := t.TempDir()
	makeRelease(t, again, debs.File(t, lab.Suite, host(), "qemu-user-static"))
	second := contents(t, again)
	for name, text := range first {
		assert.True(t, text == second[name], "%s: other bytes", name)
	}
	assert.Len(t, second, len(first))
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(text)
		return err
	}))
	return files
}

// The archive has the program, every manual page, the completions and the licences.
func TestArchive(t *testing.T) {
	dir := t.TempDir()
	do(t, dir, "tar", "--no-same-owner", "-xzf", file(t, ".tar.gz"), "--strip-components=1")
	for _, a := range applets.Table {
		assert.FileExists(t, filepath.Join(dir, "man", "binproxy-"+a.Name+".1"))
	}
	for _, name := range []string{"_binproxy", "binproxy.bash", "binproxy.fish"} {
		assert.FileExists(t, filepath.Join(dir, "completions", name))
	}
	assert.Contains(t, do(t, dir, "./binproxy", "version"), "binproxy "+tag+" ")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM x\nRUN y\n"), 0o644))
	assert.Contains(t, do(t, dir, "./binproxy", "dockerfile", "--platform", "linux/riscv64"), "ADD bundle")
	notices, err := os.ReadFile(filepath.Join(dir, "NOTICES"))
	require.NoError(t, err)
	for _, owed := range []string{"golang.org/x/sys v", "binproxy/third_party/zstd", "Klaus Post", "std 1.", "The Go Authors", "github.com/moby/buildkit v"} {
		assert.Contains(t, string(notices), owed)
	}
}

// inRoot runs a command in a root, with a /proc that nobody else sees.
func inRoot(t *testing.T, root string, command ...string) string {
	t.Helper()
	said, err := tryInRoot(t, root, command...)
	require.NoError(t, err, "%s\n%s", command, said)
	return said
}

func tryInRoot(t *testing.T, root string, command ...string) (string, error) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "proc"), 0o755))
	args := append([]string{"--mount", "--pid", "--fork", "--mount-proc=" + root + "/proc", "chroot", root}, command...)
	out, err := exec.CommandContext(t.Context(), "unshare", args...).CombinedOutput()
	return string(out), err
}

// useIn puts a program of another architecture, and the emulator for it, into a root, and has
// the installed binproxy run it there.
func useIn(t *testing.T, root string) {
	t.Helper()
	emulator, err := os.ReadFile(need.Emulator(t, "aarch64"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "usr/bin/qemu-aarch64-static"), emulator, 0o755))
	built.Guest(t, "arm64", "../builders/testdata/says.go", filepath.Join(root, "says"))
	assert.Contains(t, inRoot(t, root, "/usr/bin/binproxy", "version"), "binproxy "+tag+" ")
	assert.Equal(t, "arm64: [\"used\"]\n", inRoot(t, root, "/usr/bin/binproxy", "run", "--", "/says", "used"))
	for _, name := range []string{"share/man/man1/binproxy-run.1", "share/bash-completion/completions/binproxy", "share/doc/binproxy/copyright", "share/doc/binproxy/NOTICES"} {
		matches, err := filepath.Glob(filepath.Join(root, "usr", name) + "*")
		require.NoError(t, err)
		assert.NotEmpty(t, matches, name)
	}
}

// dpkg installs the package in a Debian root, finds all files as they were, and removes them.
func TestDeb(t *testing.T) {
	need.Program(t, "dpkg", "dpkg")
	root := lab.Unpack(t, lab.Root(t, arch.Host().Debian))
	do(t, root, "dpkg", "--root="+root, "--install", file(t, ".deb"))
	assert.Equal(t, "9.8.7~rc1 "+arch.Host().Debian, do(t, root, "dpkg-query", "--admindir="+root+"/var/lib/dpkg", "--show", "--showformat=${Version} ${Architecture}", "binproxy"))
	assert.Empty(t, do(t, root, "dpkg", "--root="+root, "--verify", "binproxy"))
	useIn(t, root)
	do(t, root, "dpkg", "--root="+root, "--remove", "binproxy")
	assert.NoFileExists(t, filepath.Join(root, "usr/bin/binproxy"))
}

// rpm installs the package in an empty root, finds all files as they were, and removes them.
func TestRPM(t *testing.T) {
	need.Program(t, "rpm", "rpm")
	root := t.TempDir()
	rpm := func(args ...string) string { return do(t, root, "rpm", append([]string{"--root", root}, args...)...) }
	rpm("--initdb")
	rpm("--install", file(t, ".rpm"))
	assert.Equal(t, fmt.Sprintf("9.8.7~rc1 %s", arch.Host().Machine), rpm("--query", "--queryformat=%{VERSION} %{ARCH}", "binproxy"))
	assert.Empty(t, rpm("--verify", "binproxy"))
	useIn(t, root)
	rpm("--erase", "binproxy")
	assert.NoFileExists(t, filepath.Join(root, "usr/bin/binproxy"))
}

// Alpine's apk installs the package in an empty root.
func TestAPK(t *testing.T) {
	need.Long(t)
	apk, err := exec.LookPath("apk")
	need.Given(t, err == nil, "apk in PATH, of Alpine's apk-tools; no Debian package has it")
	root := t.TempDir()
	do(t, root, apk, "--root", root, "--initdb", "--allow-untrusted", "--no-network", "--arch", arch.Host().Machine, "add", file(t, ".apk"))
	useIn(t, root)
}

// The programs of the architectures without supervision start, and say why they cannot supervise.
func TestOthersStart(t *testing.T) {
	need.Long(t)
	root, err := built.Root()
	require.NoError(t, err)
	for goarch, qemu := range map[string]string{"riscv64": "riscv64", "s390x": "s390x"} {
		emulator, path := need.Emulator(t, qemu), filepath.Join(t.TempDir(), "binproxy")
		do(t, root, "env", "GOARCH="+goarch, "VERSION="+tag, "scripts/build", path)
		said := do(t, root, emulator, path, "version")
		assert.Regexp(t, "binproxy "+tag+" .*"+goarch, said)
		out, err := exec.CommandContext(t.Context(), emulator, path, "run", "--route", "supervise", "--", "true").CombinedOutput()
		require.Error(t, err)
		assert.Contains(t, string(out), "it does not know the registers of a "+goarch+" host")
	}
}
