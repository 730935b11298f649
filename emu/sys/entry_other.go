//go:build !amd64 && !arm64

package sys

// Both stay empty: without an entry of our own (entry.go) only what the Go runtime keeps is kept.
var ignored, closed uint64
