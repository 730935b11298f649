//go:build !amd64 && !arm64

package sys

// RoomForThreads does not know.
func RoomForThreads(int) error { return nil }

// RoomForChild does not know.
func RoomForChild() error { return nil }
