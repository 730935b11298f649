package container

import (
	"bufio"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/container"
	"binproxy/test/lib/need"
)

// An ordinary user holds what he can open of the store, and root's commands go on.
func TestStoreIsNotHeldByOthers(t *testing.T) {
	w, other := root(t), user(t)
	flock := need.Program(t, "flock", "util-linux")
	w.does("container", "create", "--arch", "arm64", "--location", w.smallRoot())
	for _, path := range []string{container.RootStore, container.RootStore + "/aarch64", container.RootStore + "/.aarch64.json"} {
		hold := other.program(flock, path, "sh", "-c", "echo held; exec sleep 1000")
		said, err := hold.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, hold.Start())
		line, _ := bufio.NewReader(said).ReadString('\n')
		assert.Equal(t, "held\n", line, path)
		list := w.cmd("container", "list")
		stuck := time.AfterFunc(time.Minute, func() { _ = list.Process.Kill() })
		r := run(list)
		stuck.Stop()
		assert.Zero(t, r.status, "%s: %s", path, r)
		require.NoError(t, hold.Process.Kill())
		_ = hold.Wait()
	}
	fi, err := os.Stat(container.RootStore + "/.lock")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), fi.Mode(), "what is locked")
	w.does("container", "remove", "aarch64")
	assert.NoDirExists(t, container.RootStore)
}
