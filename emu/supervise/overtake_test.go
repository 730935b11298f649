package supervise

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// A stop of a group's leader waits while another thread of the group may be in execve. A stop of
// any other process does not. The leader here is the test's own.
func TestOvertakers(t *testing.T) {
	c := newScene(t)
	if unix.Gettid() == os.Getpid() {
		t.Skip("needs a thread that is not the leader; chance gave it the leader's")
	}
	leader := &fake{tid: os.Getpid()}
	c.tasks[leader.tid] = &task{thread: leader}
	stop := tracee.Stop{TID: leader.tid, Kind: tracee.Group, Signal: unix.SIGTRAP}
	require.False(t, c.waits(stop))

	c.execve("nothing")
	require.Equal(t, []string{"continue 0"}, c.stop(t, tracee.Seccomp)[1:])
	require.True(t, c.waits(stop))
	require.False(t, c.waits(tracee.Stop{TID: os.Getppid(), Kind: tracee.Group}))

	// The stop is served once the thread has stopped.
	c.stopped(leader.tid)
	require.Empty(t, leader.took())
	c.stopped(c.fake.TID())
	require.Equal(t, []string{"continue 0"}, leader.took())
	require.Empty(t, c.waiting)

	// It is not served if the exec has succeeded: the leader's number is another thread's then.
	c.execve("nothing")
	c.stop(t, tracee.Seccomp)
	require.True(t, c.waits(stop))
	leader.message = uint(c.fake.TID())
	require.Equal(t, c.task, c.leader(c.tasks[leader.tid]))
	require.Empty(t, leader.took())
	require.Empty(t, c.waiting)
}
