package supervise

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// A new program that is not the one handed out is ended before anything is written into it.
func TestExecOther(t *testing.T) {
	c := newScene(t)
	c.execve("guest")
	c.stop(t, tracee.Seccomp)
	c.stop(t, tracee.Syscall)
	c.task.call.(*exec).via.file.Ino++
	before := string(c.fake.memory)
	require.ErrorIs(t, c.serve(c.task, tracee.Stop{Kind: tracee.Exec}), unix.ESRCH)
	require.Equal(t, []string{"kill"}, c.fake.took())
	require.Equal(t, before, string(c.fake.memory))
	require.Nil(t, c.task.guest)
	require.Nil(t, c.task.call)
}
