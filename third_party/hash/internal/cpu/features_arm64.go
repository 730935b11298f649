// Package cpu asks the kernel for the processor's instructions, when a hash first needs to know.
package cpu

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Features are the instructions that the hashes have code for.
type Features struct{ SHA1, SHA2, SHA512 bool }

var (
	asked    sync.Once
	features Features
)

// ARM64 returns what processor and kernel support, as internal/cpu of Go finds it out.
func ARM64() *Features {
	asked.Do(ask)
	return &features
}

func ask() {
	const hwcap = 16                                   // AT_HWCAP
	const sha1, sha2, sha512 = 1 << 5, 1 << 6, 1 << 21 // its bits
	vector, _ := unix.Auxv()
	for _, v := range vector {
		if v[0] == hwcap {
			features = Features{SHA1: v[1]&sha1 != 0, SHA2: v[1]&sha2 != 0, SHA512: v[1]&sha512 != 0}
		}
	}
}
