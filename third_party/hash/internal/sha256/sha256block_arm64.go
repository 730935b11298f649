// Copyright 2017 The Go Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

//go:build !purego

package sha256

import "binproxy/third_party/hash/internal/cpu"

func useSHA2() bool { return cpu.ARM64().SHA2 }

//go:noescape
func blockSHA2(dig *Digest, p []byte)

func block(dig *Digest, p []byte) {
	if useSHA2() {
		blockSHA2(dig, p)
	} else {
		blockGeneric(dig, p)
	}
}
