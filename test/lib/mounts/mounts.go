// Package mounts gives a test a view of the mounts without those of other tests that run at the
// same time.
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
// own: later mounts of others do not appear there. It unmounts those that exist already; they
// would disappear anyway when others remove their places (rmdir(2) detaches a mount in other
// namespaces). For an ordinary user it does nothing.
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
			_ = unix.Unmount(place, unix.MNT_DETACH) // or it disappeared with another one
		}
	}
}

// List is the text of mountinfo for the goroutine's thread.
func List(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	require.NoError(t, err)
	return string(text)
}
