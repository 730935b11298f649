package oci

import (
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"binproxy/third_party/hash/sha256"
	"binproxy/third_party/hash/sha512"
)

// These are the digest algorithms that the OCI image specification registers.
var algorithms = [...]struct {
	name  string
	bytes int
	make  func() hash.Hash
}{{"sha256", sha256.Size, sha256.New}, {"sha512", sha512.Size, sha512.New}}

// blobsDir is where a layout keeps its blobs, by algorithm and digest.
const blobsDir = "blobs/"

// blobPath is a blob's path in a layout. It checks the digest, which becomes part of the path.
func blobPath(digest string) (string, error) {
	algorithm, sum, _ := strings.Cut(digest, ":")
	name := blobsDir + algorithm + "/" + sum
	if hashOf(name) == nil {
		return "", fmt.Errorf("digest %.150q is none: it is sha256: or sha512: and as many digits", digest)
	}
	return name, nil
}

// digestOf is the digest that a path promises, "" if it promises none.
func digestOf(name string) string {
	if hashOf(name) == nil {
		return ""
	}
	return strings.Replace(strings.TrimPrefix(name, blobsDir), "/", ":", 1)
}

// hashOf is the hash that a blob's path promises; nil for another path.
func hashOf(name string) hash.Hash {
	for _, a := range algorithms {
		sum, ok := strings.CutPrefix(name, blobsDir+a.name+"/")
		if ok && len(sum) == 2*a.bytes && strings.Trim(sum, "0123456789abcdef") == "" {
			return a.make()
		}
	}
	return nil
}

// blob is a file of an image, which is read from start to end.
type blob struct {
	io.ReadCloser
	name string
	size int64
	sum  hash.Hash // nil if the path is no digest, as in archives of older docker save
}

func openBlob(from files, name string) (*blob, error) {
	name = path.Clean(name)
	sum := hashOf(name)
	if sum == nil && strings.HasPrefix(name, blobsDir) {
		return nil, fmt.Errorf("%s: not the name of a blob", name)
	}
	r, size, err := from.open(name)
	if err != nil {
		return nil, err
	}
	return &blob{r, name, size, sum}, nil
}

func (b *blob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	return n, err
}

// verify reads the rest and compares the whole with the digest.
func (b *blob) verify() error {
	if b.sum == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		return err
	}
	if got := hex.EncodeToString(b.sum.Sum(nil)); got != path.Base(b.name) {
		return fmt.Errorf("its digest is %s: the image is damaged, or the blob is another's; fetch the image again", got)
	}
	return nil
}
