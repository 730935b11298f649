package sys

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is tried leaves nothing behind.
func TestRoomForThreads(t *testing.T) {
	count := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		require.NoError(t, err)
		return len(tasks)
	}
	before := count()
	for range 20 {
		require.True(t, RoomForThreads(8))
	}
	require.Less(t, count(), before+8, "160 threads have ended")
	require.True(t, RoomForThreads(0))
}

func BenchmarkRoomForThreads(b *testing.B) {
	for b.Loop() {
		RoomForThreads(6)
	}
}
