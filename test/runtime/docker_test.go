package runtime

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// Docker runs an image of another architecture, and processes that join its container, where the
// runtime is the engine's own choice. That it builds is shown by test/builders.
func TestDocker(t *testing.T) {
	need.Root(t)
	need.Long(t)
	link := runtimeLink(t)
	docker := lab.StartEngineIn(t, lab.NewPlace(t, false), lab.Start{Runtime: link})
	require.NoError(t, docker.Load(t.Context(), image(t, root(t)), "arm64", "guest:1"))
	e := engine{t: t, dir: t.TempDir()}
	cmd := docker.Command(t.Context())
	e.words, e.env = cmd.Args, cmd.Env

	run := []string{"run", "--network", "none"}
	out, status := e.do(append(run, "--rm", "guest:1", "sh", "-c", script)...)
	assert.Equal(t, shown, out)
	assert.Equal(t, 7, status)

	// tini, a program of the host's, is PID 1, and starts the guest's.
	out, _ = e.do(append(run, "--rm", "--init", "--env", "BINPROXY_RELEASE=5.6.7", "guest:1", "sh", "-c", "cat /proc/1/comm; uname -mr")...)
	assert.Equal(t, "docker-init\n5.6.7 aarch64\n", out)

	out, _ = e.do(append(run, "--rm", "--user", "1000", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "guest:1", "sh", "-c", script)...)
	assert.Equal(t, strings.Replace(shown, "0", "1000", 1), out)

	e.must(append(run, "--detach", "--name", "waits", "guest:1", "sleep", "1000")...)
	out, status = e.do("exec", "--env", "A=b", "--workdir", "/usr", "waits", "sh", "-c", "echo $A $PWD; uname -mr; exit 6")
	assert.Equal(t, "b /usr\n"+release+" aarch64\n", out)
	assert.Equal(t, 6, status)
	// A daemon that it leaves behind lives on, and does not keep the caller.
	e.must("exec", "waits", "sh", "-c", "setsid sh -c 'sleep 1; exec sleep 999' </dev/null >/dev/null 2>&1 &")
	require.Eventually(t, func() bool { return strings.Contains(e.must("exec", "waits", "ps"), "sleep 999") }, patience, 100*time.Millisecond)
	e.must("rm", "--force", "waits")

	_, status = e.do(append(run, "--rm", "guest:1", "nonexistent")...)
	assert.Equal(t, 127, status)
}
