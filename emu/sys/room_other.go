//go:build !amd64 && !arm64

package sys

// RoomForChild does not know.
func RoomForChild() error { return nil }
