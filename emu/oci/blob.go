package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
)

// The algorithms that the OCI image specification registers for digests.
var algorithms = [...]struct {
	name  string
	bytes int
	make  func() hash.Hash
}{{"sha256", sha256.Size, sha256.New}, {"sha512", sha512.Size, sha512.New}}

// blobsDir is where a layout has its blobs, by algorithm and digest.
const blobsDir = "blobs/"

// blobPath is where a layout has the blob of a digest, which is checked, since it becomes a path.
func blobPath(digest string) (string, error) {
	algorithm, sum, _ := strings.Cut(digest, ":")
	name := blobsDir + algorithm + "/" + sum
	if hashOf(name) == nil {
		return "", fmt.Errorf("digest %.150q is none: it is sha256: or sha512: and as many digits", digest)
	}
	return name, nil
}

// digestOf is the digest that a path promises, "" for one that promises none.
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

// blob is a file of an image, read from its begin to its end.
type blob struct {
	io.ReadCloser
	name string
	size int64
	sum  hash.Hash // nil for a file whose path is no digest, as in archives of older docker save
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

// verify reads what is left and compares the whole with the digest.
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
