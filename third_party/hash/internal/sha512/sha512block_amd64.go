// Copyright 2013 The Go Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

//go:build !purego

package sha512

import "binproxy/third_party/hash/internal/cpu"

func useAVX2() bool { return cpu.X86().AVX2 }

//go:noescape
func blockAVX2(dig *Digest, p []byte)

func block(dig *Digest, p []byte) {
	if useAVX2() {
		blockAVX2(dig, p)
	} else {
		blockGeneric(dig, p)
	}
}
