package tracee

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// If a thread is made to make a call at an address without code, its process is ended; the call is
// not made for ever.
func TestAstray(t *testing.T) {
	c := newChild(t)
	thread := c.threads[1]
	c.atEnd(t, thread)
	regs, err := thread.Registers()
	require.NoError(t, err)
	require.NoError(t, thread.Hold())
	_, err = thread.CallAt(ABI64, regs, 16, ABI64.Prctl, unix.PR_GET_DUMPABLE, 0)
	require.True(t, Gone(err), "%v", err)
	require.ErrorContains(t, err, "segmentation fault")
}
