package execs

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// A native program may put filters on itself under supervision, but has neither strict mode nor a
// listener: what docs/supervise.md says cannot work.
func TestOwnFilters(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own")
	said, err := exec.Command(need.Program(t, "gcc", "gcc"), "-o", own, "testdata/own.c").CombinedOutput()
	require.NoError(t, err, "%s", said)
	kernel, err := exec.Command(own).Output()
	require.NoError(t, err)
	need.Given(t, !strings.Contains(string(kernel), "E"), "a sandbox that leaves seccomp to programs")

	supervised, err := exec.Command(built.Binproxy(t), "run", "--", own).Output()
	require.NoError(t, err)
	want := strings.NewReplacer("strict: done", "strict: EINVAL", "listener: done", "listener: EBUSY").Replace(string(kernel))
	assert.Equal(t, want, string(supervised))
}
