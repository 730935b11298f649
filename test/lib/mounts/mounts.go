// Package mounts gives a test a view of the mounts in which those of other tests, which run at the
// same time, do not show.
package mounts

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Own puts the test's goroutine, and the programs that it starts, into a mount namespace of its
// own: what others mount from now on does not appear there. What they have mounted already is
// taken away: it would go anyhow once they remove its place (rmdir(2) detaches a mount in other
// namespaces). An ordinary user stays where he is.
func Own(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNS))
	require.NoError(t, unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	for line := range strings.Lines(List(t)) {
		if place := strings.Fields(line)[4]; strings.HasPrefix(place, os.TempDir()+"/") {
			_ = unix.Unmount(place, unix.MNT_DETACH) // or it went with another one
		}
	}
}

// List is the mounts that the goroutine's thread sees, as mountinfo has them.
func List(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	require.NoError(t, err)
	return string(text)
}
