//go:build !amd64 && !arm64

package sys

// ignored stays empty: without an entry of our own (entry.go) only what the Go runtime keeps is kept.
var ignored uint64
