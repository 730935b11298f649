package oci

import (
	"errors"
	"fmt"
	"io"

	"binproxy/third_party/zstd"
)

// maxWindow is how far back a zstd frame may refer to its unpacked data, as in zstd(1). Unpacking
// keeps that much in memory, and little more.
const maxWindow = 128 << 20

// zstdReader adds to its errors what was read.
type zstdReader struct{ frames *zstd.Decoder }

// unzstd reads a stream of frames. Reading unpacks one block after the other, so there is nothing
// to close.
func unzstd(r io.Reader) (zstdReader, error) {
	frames, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxUnpacked))
	return zstdReader{frames}, err
}

func (z zstdReader) Read(b []byte) (int, error) {
	n, err := z.frames.Read(b)
	switch err {
	case nil, io.EOF:
		return n, err
	case zstd.ErrUnknownDictionary:
		return n, errors.New("zstd: the frame wants a dictionary, which is not supported")
	case zstd.ErrWindowSizeExceeded, zstd.ErrDecoderSizeExceeded:
		return n, fmt.Errorf("zstd: %w: a window of %d MiB is the most", err, maxWindow>>20)
	}
	return n, fmt.Errorf("zstd: %w", err)
}
