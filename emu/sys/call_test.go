package sys

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestInterrupted: a signal with a handler, such as the Go runtime's own, ends poll(2). Readable
// continues until there is something to read, or the time is over.
func TestInterrupted(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	thread, calm := unix.Gettid(), make(chan bool)
	defer close(calm)
	go func() {
		for {
			select {
			case <-calm:
				return
			case <-time.After(time.Millisecond):
				_ = SendThread(thread, unix.SIGURG)
			}
		}
	}()
	fd := int(r.Fd())
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
	assert.Equal(t, unix.EINTR, err)
	readable, err := Readable(fd, 50)
	assert.NoError(t, err)
	assert.False(t, readable)
	time.AfterFunc(50*time.Millisecond, func() { w.Write([]byte("x")) })
	readable, err = Readable(fd, -1)
	assert.NoError(t, err)
	assert.True(t, readable)
	var b [2]byte
	n, err := Read(fd, b[:])
	assert.NoError(t, err)
	assert.Equal(t, 1, n)
}
