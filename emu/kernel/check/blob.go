package check

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
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

// blobName is the path of a blob: its digest is checked, since it becomes a path.
func blobName(digest string) (string, error) {
	algorithm, sum, _ := strings.Cut(digest, ":")
	name := blobsDir + algorithm + "/" + sum
	if _, err := hashOf(name); err != nil {
		return "", fmt.Errorf("digest %q is none", digest)
	}
	return name, nil
}

// hashOf is the hash that a blob's name promises.
func hashOf(name string) (hash.Hash, error) {
	for _, a := range algorithms {
		if sum, ok := strings.CutPrefix(name, blobsDir+a.name+"/"); ok && len(sum) == 2*a.bytes && strings.Trim(sum, "0123456789abcdef") == "" {
			return a.make(), nil
		}
	}
	return nil, fmt.Errorf("%s: not the name of a blob", name)
}

// blob is a file of a layout, read from its begin to its end; verify tells whether it is what its name says.
type blob struct {
	content
	name string
	left *io.SectionReader
	sum  hash.Hash // nil for a file whose name is no digest, as in archives of older docker save
}

func openBlob(b blobs, name string) (*blob, error) {
	c, err := b.open(name)
	if err != nil {
		return nil, err
	}
	sum, err := hashOf(path.Clean(name))
	if err != nil && strings.HasPrefix(path.Clean(name), blobsDir) {
		c.Close()
		return nil, err
	}
	return &blob{c, name, io.NewSectionReader(c, 0, c.Size()), sum}, nil
}

func (b *blob) Read(p []byte) (int, error) {
	n, err := b.left.Read(p)
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
		return fmt.Errorf("its digest is %s: the blob is damaged, or another's; fetch the image again", got)
	}
	return nil
}

// because prefers a wrong digest, as the reason, to what reading a damaged blob led to.
func (b *blob) because(err error) error {
	if wrong := b.verify(); wrong != nil {
		return wrong
	}
	return err
}

// readJSON reads a description of an image.
func readJSON(b blobs, name string, v any) error {
	c, err := openBlob(b, name)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Size() > maxJSON {
		return fmt.Errorf("%s: %d bytes; the most that is read is %d", name, c.Size(), maxJSON)
	}
	err = json.NewDecoder(c).Decode(v)
	if wrong := c.verify(); wrong != nil {
		err = wrong
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
