package sys_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/sys"
)

// A process that execs has no handler for what may be sent to it: a thread in a handler would lose
// the signal when the exec ends it.
func TestExecLeavesNoHandlers(t *testing.T) {
	const asChild = "EXEC_TEST_CHILD"
	if os.Getenv(asChild) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestExecLeavesNoHandlers$", "-test.v")
		cmd.Env = append(os.Environ(), asChild+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Contains(t, string(out), "--- PASS", "%s", out)
		return
	}
	const sent = 1<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1) | 1<<(syscall.SIGQUIT-1) | 1<<(syscall.SIGTERM-1) | 1<<(syscall.SIGUSR1-1)
	assert.EqualValues(t, sent, mask(t, "SigCgt")&sent, "Go's own handlers")
	err := sys.Exec("/no/such/program", []string{"x"}, nil)
	require.True(t, errors.Is(err, fs.ErrNotExist), "%v", err)
	assert.Zero(t, mask(t, "SigCgt")&sent)
}

// mask is one of this process's sets of signals.
func mask(t *testing.T, name string) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), name+":\t")
	require.True(t, ok)
	set, err := strconv.ParseUint(rest[:16], 16, 64)
	require.NoError(t, err)
	return set
}
