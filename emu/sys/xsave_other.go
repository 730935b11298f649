//go:build !amd64

package sys

// XSaveSize is 0: the instruction is x86's.
func XSaveSize() int { return 0 }
