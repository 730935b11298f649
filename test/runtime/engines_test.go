package runtime

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// dockerfile knows nothing of binproxy. Its lines print what a native build's would, except for
// the architecture and the release.
const dockerfile = `FROM base
RUN echo pid $$ && uname -mr && true >/made
USER 1000
RUN id -u && cat /proc/1/comm
`

var built1000 = []string{"pid 1", release + " aarch64", "1000", "sh"}

// image is a tar archive of the root.
func image(t testing.TB, root string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.tar")
	out, err := exec.Command("tar", "--owner=0", "--group=0", "-C", root, "-cf", path, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// buildContext is a directory with the Dockerfile.
func buildContext(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/Dockerfile", []byte(dockerfile), 0o644))
	return dir
}

// engine is a command line by which an engine is called.
type engine struct {
	t     testing.TB
	words []string
	dir   string
	env   []string
	user  *syscall.Credential
}

// do runs a command of the engine, and gives its standard output and status. The test's log has
// its stderr.
func (e engine) do(args ...string) (string, int) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.words[0], append(e.words[1:len(e.words):len(e.words)], args...)...)
	cmd.Dir, cmd.Env = e.dir, append(os.Environ(), e.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: e.user}
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	err := cmd.Run()
	require.NotNil(e.t, cmd.ProcessState, "%v", err)
	e.t.Logf("%s: %v\n%s%s", strings.Join(args, " "), err, &out, &diagnostics)
	return out.String(), cmd.ProcessState.ExitCode()
}

// must is do for a command that has to succeed.
func (e engine) must(args ...string) string {
	e.t.Helper()
	out, status := e.do(args...)
	require.Zero(e.t, status)
	return out
}

// podman is podman with a storage of its own, for root or for nobody.
func podman(t testing.TB, link string, user *syscall.Credential) engine {
	t.Helper()
	program := need.Program(t, "podman", "podman")
	need.Program(t, "runc", "runc")
	dir, err := os.MkdirTemp("", "podman-") // sockets have short names
	require.NoError(t, err)
	e := engine{t: t, dir: dir, user: user, env: []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + dir + "/run", "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH") + ":/usr/sbin"}}
	require.NoError(t, os.Mkdir(dir+"/run", 0o700))
	if user != nil {
		require.NoError(t, os.Chown(dir, int(user.Uid), int(user.Gid)))
		require.NoError(t, os.Chown(dir+"/run", int(user.Uid), int(user.Gid)))
	}
	e.words = []string{program, "--root", dir + "/root", "--runroot", dir + "/rr", "--storage-driver", "vfs",
		"--cgroup-manager", "cgroupfs", "--runtime", link}
	t.Cleanup(func() {
		e.do("rm", "--all", "--force", "--time", "0")
		if user != nil {
			e.do("system", "migrate") // ends the process that holds the user namespace
		}
		unmount(t, dir)
		require.NoError(t, os.RemoveAll(dir))
	})
	return e
}

// unmount removes what an engine has left mounted in its directory.
func unmount(t testing.TB, dir string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", `awk -v dir="$0/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r umount -l`, dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// containersConf is a containers.conf that names the runtime.
func containersConf(t testing.TB, link string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(link), "containers.conf")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "[engine]\nruntime = \"binproxy\"\n[engine.runtimes]\nbinproxy = [%q]\n", link), 0o644))
	return path
}

// Podman runs and builds unmodified images by --runtime and by containers.conf, as root and as an
// ordinary user.
func TestPodman(t *testing.T) {
	need.Root(t)
	need.Long(t)
	link, archive := runtimeLink(t), image(t, root(t))
	// podman's own limits exceed what some machines allow.
	run := []string{"run", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"}
	for _, c := range []struct {
		name string
		user *syscall.Credential
	}{{"root", nil}, {"nobody", &syscall.Credential{Uid: 65534, Gid: 65534}}} {
		t.Run(c.name, func(t *testing.T) {
			e := podman(t, link, c.user)
			given, err := os.Open(archive)
			require.NoError(t, err)
			defer given.Close()
			require.NoError(t, os.Chmod(filepath.Dir(archive), 0o755))
			e.must("import", "--arch", "arm64", archive, "base")

			out, status := e.do(append(run, "--rm", "base", "sh", "-c", script)...)
			assert.Equal(t, shown, out)
			assert.Equal(t, 7, status)
			out, _ = e.do(append(run, "--rm", "--annotation", "binproxy.release=5.6.7", "--read-only", "base", "uname", "-r")...)
			assert.Equal(t, "5.6.7\n", out)

			configured := e
			configured.words = slices.DeleteFunc(slices.Clone(e.words), func(word string) bool { return word == "--runtime" || word == link })
			configured.env = append(slices.Clone(e.env), "CONTAINERS_CONF="+containersConf(t, link))
			out, _ = configured.do(append(run, "--rm", "base", "uname", "-m")...)
			assert.Equal(t, "aarch64\n", out)

			e.must(append(run, "--detach", "--name", "c", "base", "sleep", "1000")...)
			out, status = e.do("exec", "--env", "A=b", "c", "sh", "-c", "echo $A; uname -m; exit 6")
			assert.Equal(t, "b\naarch64\n", out)
			assert.Equal(t, 6, status)
			e.must("rm", "--force", "--time", "0", "c")

			if c.user != nil {
				return // its user namespace has no 1000
			}
			out = e.must("build", "--network", "none", "--no-cache", "--tag", "made", buildContext(t))
			assertLines(t, built1000, out)
		})
	}
}

// assertLines asserts that a text contains the lines, in their order.
func assertLines(t testing.TB, want []string, text string) {
	t.Helper()
	var found []string
	for line := range strings.Lines(text) {
		if len(found) < len(want) && strings.TrimSpace(line) == want[len(found)] {
			found = append(found, want[len(found)])
		}
	}
	assert.Equal(t, want, found, text)
}

// Buildah builds unmodified Dockerfiles by --runtime, and nothing of binproxy is in the image.
func TestBuildah(t *testing.T) {
	need.Root(t)
	need.Long(t)
	need.Program(t, "runc", "runc")
	link, archive := runtimeLink(t), image(t, root(t))
	dir := t.TempDir()
	e := engine{t: t, dir: dir, env: []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin"},
		words: []string{need.Program(t, "buildah", "buildah"), "--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}}
	t.Cleanup(func() { unmount(t, dir) })
	base := strings.TrimSpace(e.must("from", "scratch"))
	e.must("add", base, archive, "/")
	e.must("config", "--arch", "arm64", "--env", "PATH=/bin", base)
	e.must("commit", base, "base")

	out := e.must("bud", "--isolation", "oci", "--runtime", link, "--network", "none", "--no-cache", "--tag", "made", buildContext(t))
	assertLines(t, built1000, out)
	made := strings.TrimSpace(e.must("from", "--pull-never", "made"))
	place := strings.TrimSpace(e.must("mount", made))
	require.FileExists(t, place+"/made")
	for _, name := range names(t, place) {
		assert.NotContains(t, strings.TrimPrefix(name, place), "binproxy")
	}
	left, err := os.ReadDir(place + "/dev")
	require.NoError(t, err)
	assert.Empty(t, left)
	e.must("umount", made)
	out, status := e.do("run", "--isolation", "oci", "--runtime", link, "--network", "none", made, "--", "sh", "-c", "uname -m; exit 4")
	assert.Equal(t, "aarch64\n", out)
	assert.Equal(t, 4, status)
}
