package sys

import (
	"os"
	"testing"
	"time"

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
	require.Eventually(t, func() bool { return count() < before+8 }, time.Minute, time.Millisecond, "160 threads end")
	require.True(t, RoomForThreads(0))
}

func BenchmarkRoomForThreads(b *testing.B) {
	for b.Loop() {
		RoomForThreads(6)
	}
}
