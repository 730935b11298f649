package packages

import (
	"encoding/hex"
	"hash"
	"io"
)

// Owner is the package that a file came with.
type Owner struct {
	Package, Version string
	sum              hash.Hash // what the checksum is made with; nil where the database has none
	want             string    // the checksum
}

// Genuine reports whether r reads the file that the package brought, where the database can tell.
func (o Owner) Genuine(r io.Reader) bool {
	if o.sum == nil {
		return true
	}
	o.sum.Reset()
	if _, err := io.Copy(o.sum, r); err != nil {
		return false
	}
	return hex.EncodeToString(o.sum.Sum(nil)) == o.want
}
