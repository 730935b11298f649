//go:build !amd64 && !arm64

package sys

// All stay empty: without an entry of our own (entry.go) the program has only what the Go runtime
// keeps.
var ignored, closed uint64

var nofile [2]uint64

var forked int64 = notForked
