package sys

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is tried leaves nothing behind.
func TestRoomForChild(t *testing.T) {
	count := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		require.NoError(t, err)
		return len(tasks)
	}
	before := count()
	for range 20 {
		require.NoError(t, RoomForChild())
	}
	require.Less(t, count(), before+7, "140 threads have ended")
}

func BenchmarkRoomForChild(b *testing.B) {
	for b.Loop() {
		RoomForChild()
	}
}
