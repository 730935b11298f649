package runtime

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// run are the words that a container of the tests is started by.
var run = []string{"run", "--network", "none"}

// docker is an engine that was started so, with the root as its image guest:1.
func docker(t testing.TB, start lab.Start, root string) engine {
	t.Helper()
	d := lab.StartEngineIn(t, lab.NewPlace(t, false), start)
	require.NoError(t, d.Load(t.Context(), image(t, root), "arm64", "guest:1"))
	cmd := d.Command(t.Context())
	return engine{t: t, dir: t.TempDir(), words: cmd.Args, env: cmd.Env}
}

// Docker runs an image of another architecture, and processes that join its container, where the
// runtime is the engine's own choice. That it builds is shown by test/builders.
func TestDocker(t *testing.T) {
	need.Root(t)
	need.Long(t)
	e := docker(t, lab.Start{Runtime: runtimeLink(t)}, root(t))
	out, status := e.do(append(run, "--rm", "guest:1", "sh", "-c", script)...)
	assert.Equal(t, shown, out)
	assert.Equal(t, 7, status)

	// tini, a program of the host's, is PID 1, and starts the guest's program.
	out, _ = e.do(append(run, "--rm", "--init", "--env", "BINPROXY_RELEASE=5.6.7", "guest:1", "sh", "-c", "cat /proc/1/comm; uname -mr")...)
	assert.Equal(t, "docker-init\n5.6.7 aarch64\n", out)

	out, _ = e.do(append(run, "--rm", "--user", "1000", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "guest:1", "sh", "-c", script)...)
	assert.Equal(t, strings.Replace(shown, "0", "1000", 1), out)

	e.must(append(run, "--detach", "--name", "waits", "guest:1", "sleep", "1000")...)
	out, status = e.do("exec", "--env", "A=b", "--workdir", "/usr", "waits", "sh", "-c", "echo $A $PWD; uname -mr; exit 6")
	assert.Equal(t, "b /usr\n"+release+" aarch64\n", out)
	assert.Equal(t, 6, status)
	// A daemon that it leaves behind lives on, and does not block the caller.
	e.must("exec", "waits", "sh", "-c", "setsid sh -c 'sleep 1; exec sleep 999' </dev/null >/dev/null 2>&1 &")
	require.Eventually(t, func() bool { return strings.Contains(e.must("exec", "waits", "ps"), "sleep 999") }, patience, 100*time.Millisecond)
	e.must("rm", "--force", "waits")

	_, status = e.do(append(run, "--rm", "guest:1", "nonexistent")...)
	assert.Equal(t, 127, status)
}

// The supervisor around the daemon serves its containers, and what joins them.
func TestDockerUnderSupervisor(t *testing.T) {
	need.Root(t)
	need.Long(t)
	e := docker(t, lab.Start{Before: []string{built.Binproxy(t), "run", "--"}}, root(t))
	var kernel unix.Utsname
	require.NoError(t, unix.Uname(&kernel))
	here := strings.Replace(shown, release, unix.ByteSliceToString(kernel.Release[:]), 1)

	out, status := e.do(append(run, "--rm", "guest:1", "sh", "-c", script)...)
	assert.Equal(t, here, out)
	assert.Equal(t, 7, status)
	e.must(append(run, "--detach", "--name", "waits", "guest:1", "sleep", "1000")...)
	out, status = e.do("exec", "waits", "sh", "-c", "uname -m; exit 6")
	assert.Equal(t, "aarch64\n", out)
	assert.Equal(t, 6, status)
	e.must("rm", "--force", "waits")
}

// One file, copied into a container or part of its image, runs what is foreign there on an engine
// that knows nothing of it.
func TestOneFile(t *testing.T) {
	need.Root(t)
	need.Long(t)
	need.Emulator(t, "aarch64")
	dir := root(t)
	said, err := exec.Command(built.Binproxy(t), "bundle", "--single", dir+"/file", "--arch", "arm64", "--release", release).CombinedOutput()
	require.NoError(t, err, "%s", said)
	e := docker(t, lab.Start{}, dir)
	out, status := e.do(append(run, "--rm", "--entrypoint", "/file", "guest:1", "run", "--keep-pid", "--", "sh", "-c", script)...)
	assert.Equal(t, shown, out)
	assert.Equal(t, 7, status)

	e.must(append(run, "--detach", "--name", "waits", "--entrypoint", "/file", "guest:1", "run", "--", "sleep", "1000")...)
	e.must("cp", dir+"/file", "waits:/tmp/b")
	out, status = e.do("exec", "waits", "/tmp/b", "run", "--", "sh", "-c", "uname -mr; exit 5")
	assert.Equal(t, release+" aarch64\n", out)
	assert.Equal(t, 5, status)
	e.must("rm", "--force", "waits")
}
