package oci

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// maxUnpacked is the largest size in bytes of an unpacked archive, and of all files of an image. A
// small archive has a free amount, plus gzip's best ratio for each of its bytes. No archive made
// by gzip exceeds that. If one made by zstd does (a disk full of zeros), the error says how to
// pack it.
const (
	maxUnpacked = 256 << 30
	freely      = 256 << 20
	maxRatio    = 1040
)

// compression names the compression of a file by its first bytes; "" means none.
func compression(head []byte) string {
	for _, c := range [...]struct{ magic, name string }{
		{"\x1f\x8b", "gzip"}, {"\x28\xb5\x2f\xfd", "zstd"}, {"BZh", "bzip2"}, {"\xfd7zXZ\x00", "xz"},
	} {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return c.name
		}
	}
	return ""
}

// IsArchive recognises, by its first 512 bytes, an archive that OpenAt accepts or refuses by name.
func IsArchive(head []byte) bool {
	return compression(head) != "" || len(head) >= 262 && string(head[257:262]) == "ustar"
}

// Readable reports, before an archive is opened, a compression that cannot be read.
func Readable(r io.Reader) error {
	head, err := peek(r)
	if err != nil {
		return err
	}
	switch name := compression(head); name {
	case "", "gzip", "zstd":
		return nil
	default:
		return unreadable(name)
	}
}

func unreadable(name string) error {
	return fmt.Errorf("it is compressed with %s, which is not read: pack it with gzip or zstd, or not at all", name)
}

// peek reads enough to recognise the compression.
func peek(r io.Reader) ([]byte, error) {
	head := make([]byte, 8)
	n, err := io.ReadFull(r, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return head[:n], err
}

// decompress reads a layer or an archive, packed or not.
func decompress(from io.Reader) (io.Reader, error) {
	packed := &counted{Reader: from}
	stream := bufio.NewReaderSize(packed, 64<<10)
	head, err := stream.Peek(8)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch name := compression(head); name {
	case "":
		return stream, nil
	case "gzip":
		z, err := gzip.NewReader(stream)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return &limited{r: z, packed: packed}, nil
	case "zstd":
		z, err := unzstd(stream)
		return &limited{r: z, packed: packed}, err
	default:
		return nil, unreadable(name)
	}
}

// counted counts the bytes that are read.
type counted struct {
	io.Reader
	bytes int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.bytes += int64(n)
	return n, err
}

// tooLarge ends an archive that would fill a disk: by its size alone, or in proportion to its
// packed size.
type tooLarge struct{ forItsSize bool }

func (t tooLarge) Error() string {
	if t.forItsSize {
		return fmt.Sprintf("it unpacks to more than %d MiB and %d times its size, the most that is read: pack it with gzip, or not at all", freely>>20, maxRatio)
	}
	return fmt.Sprintf("it unpacks to more than %d GiB, the most that is read", maxUnpacked>>30)
}

// limited fails if a stream is longer than allowed.
type limited struct {
	r      io.Reader
	packed *counted
	given  int64
}

func (l *limited) left() int64 { return min(maxUnpacked, freely+maxRatio*l.packed.bytes) - l.given }

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.r.Read(b[:min(int64(len(b)), max(l.left(), 0)+1)])
	l.given += int64(n)
	if l.left() < 0 {
		return 0, tooLarge{forItsSize: l.given <= maxUnpacked}
	}
	return n, err
}
