// Copyright 2017 The Go Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

//go:build !purego

package sha256

import "binproxy/third_party/hash/internal/cpu"

func useAVX2() bool { return cpu.X86().AVX2 }
func useSHANI() bool { return cpu.X86().SHANI }

//go:noescape
func blockAVX2(dig *Digest, p []byte)

//go:noescape
func blockSHANI(dig *Digest, p []byte)

func block(dig *Digest, p []byte) {
	if useSHANI() {
		blockSHANI(dig, p)
	} else if useAVX2() {
		blockAVX2(dig, p)
	} else {
		blockGeneric(dig, p)
	}
}
