package proxy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// TestClosedStaysClosed: a program behind a shim finds the same descriptors closed as without a
// shim; it does not get the Go runtime's /dev/null.
func TestClosedStaysClosed(t *testing.T) {
	need.Given(t, exists("/proc/self/fd"), "/proc")
	ls, err := filepath.EvalSymlinks(need.Program(t, "ls", "coreutils"))
	require.NoError(t, err)
	dir := t.TempDir()
	program, err := os.ReadFile(built.Binproxy(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/binproxy", program, 0o755))
	link := dir + "/farm" + ls
	require.NoError(t, os.MkdirAll(filepath.Dir(link), 0o755))
	require.NoError(t, os.Symlink(dir+"/binproxy", link))
	for _, closing := range []string{"", "<&-", "2>&-", "<&- 2>&-", "</dev/null"} {
		run := func(program string) string {
			out, err := exec.Command("/bin/sh", "-c", `exec "$0" /proc/self/fd `+closing, program).Output()
			require.NoError(t, err)
			return string(out)
		}
		require.Equal(t, run(ls), run(link), closing)
	}
	require.Error(t, exec.Command("/bin/sh", "-c", `exec "$0" / >&-`, link).Run(), "ls cannot write")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
