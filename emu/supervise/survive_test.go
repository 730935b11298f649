package supervise

import (
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
	"binproxy/emu/supervise/tracee"
)

// A panic while one tracee is served ends that tracee, not the supervisor.
func TestSurvive(t *testing.T) {
	c := newScene(t)
	find := c.config.Emulator
	c.config.Emulator = func(*arch.ABI) (emulator.Emulator, error) { panic("a fault") }
	c.execve("guest")
	err := c.attend(c.task, tracee.Stop{TID: c.fake.TID(), Kind: tracee.Seccomp})
	require.ErrorContains(t, err, "is ended for a fault in binproxy itself: a fault")
	require.Equal(t, []string{"kill"}, c.fake.took())
	c.task.drop()
	require.Equal(t, []string{"release"}, c.fake.took())

	c.config.Emulator = find
	c.execve("guest")
	require.Equal(t, []string{"hold", "give 1", "to syscall 0"}, c.stop(t, tracee.Seccomp))
}

// A panic may also come after the tracee has ended.
func TestSurviveDeath(t *testing.T) {
	c := newScene(t)
	c.execve("guest")
	c.stop(t, tracee.Seccomp)
	c.stop(t, tracee.Syscall)
	c.stop(t, tracee.Exec)
	c.config.Died = func(Death) { panic("a fault") }
	require.NotPanics(t, func() { c.died(c.fake.TID(), 1<<8) })
	require.Empty(t, c.fake.took())
}
