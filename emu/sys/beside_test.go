package sys

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestBeside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "it")
	temp, done, err := Beside(path)
	require.NoError(t, err)
	assert.Equal(t, filepath.Dir(path), filepath.Dir(temp))
	require.NoError(t, os.WriteFile(temp+"/file", nil, 0o644))
	done()
	assert.NoDirExists(t, temp)
}

// TestBesideEnded is run as a program of its own, too: one that has such a directory, and waits.
func TestBesideEnded(t *testing.T) {
	const asked = "TEST_BESIDE"
	if path := os.Getenv(asked); path != "" {
		temp, _, err := Beside(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(temp+"/file", nil, 0o644))
		fmt.Println(temp)
		select {}
	}
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		if signal.Ignored(s) {
			continue // as in a shell's background job, or under nohup
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestBesideEnded$")
		cmd.Env = append(os.Environ(), asked+"="+filepath.Join(t.TempDir(), "it"))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		temp, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		temp = strings.TrimSpace(temp)
		require.DirExists(t, temp)
		require.NoError(t, cmd.Process.Signal(s))
		_ = cmd.Wait()
		assert.Equal(t, s, cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal())
		assert.NoDirExists(t, temp)
	}
}
