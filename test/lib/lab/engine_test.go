package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// holdEngine makes this binary start an engine and hold it until it is killed.
const holdEngine = "LAB_HOLD_ENGINE"

func TestMain(m *testing.M) {
	if os.Getenv(holdEngine) != "" {
		e, err := StartEngine(context.Background(), os.Stderr)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(e.host)
		select {}
	}
	Main(m)
}

// A private engine leaves nothing: no process, no mount, no file, no control group.
func TestEngineLeavesNothing(t *testing.T) {
	tmp := privately(t)
	e, err := StartEngine(t.Context(), os.Stderr)
	require.NoError(t, err)
	defer e.Close()
	assert.True(t, e.Private)
	assert.NotEmpty(t, e.buildkit)
	require.NoError(t, run(e.Command(t.Context(), "info")))
	e.Close()
	assertNothingLeft(t, tmp, e.host)
}

// The same holds if the process that started it is killed, and cannot clean up.
func TestEngineEndsWithUs(t *testing.T) {
	tmp := privately(t)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdEngine+"=1")
	holder.Stderr = os.Stderr
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	host, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, holder.Process.Kill())
	_ = holder.Wait()

	host = strings.TrimSpace(host)
	require.Eventually(t, func() bool {
		_, err := os.Stat(engineDir(host))
		return errors.Is(err, fs.ErrNotExist)
	}, time.Minute, 50*time.Millisecond, "the engine goes on")
	assertNothingLeft(t, tmp, host)
}

// privately makes sure that no other engine answers, and gives the TMPDIR for a private one.
func privately(t *testing.T) string {
	t.Helper()
	need.Root(t)
	need.Program(t, "dockerd", "docker.io")
	tmp, err := os.MkdirTemp("", "e") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(tmp) })
	t.Setenv("TMPDIR", tmp)
	t.Setenv("DOCKER_HOST", "unix://"+tmp+"/none")
	return tmp
}

func engineDir(host string) string { return filepath.Dir(strings.TrimPrefix(host, "unix://")) }

func assertNothingLeft(t *testing.T, tmp, host string) {
	t.Helper()
	require.True(t, strings.HasPrefix(host, "unix://"+tmp+"/engine-"), host)
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	assert.Empty(t, left)
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), tmp)
	group := "binproxy-" + engineDir(host)[strings.LastIndexByte(engineDir(host), '-')+1:]
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		groups, err := filepath.Glob(pattern + group)
		require.NoError(t, err)
		assert.Empty(t, groups)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, process := range processes {
		if process == fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
			continue
		}
		cmdline, _ := os.ReadFile(process)
		assert.NotContains(t, string(cmdline), engineDir(host), process)
	}
}
