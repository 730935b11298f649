package oci

import (
	"archive/tar"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A stream of as much as may be ends as it does; a byte more is an error, not an end.
func TestLimited(t *testing.T) {
	for text, want := range map[string]error{"": nil, "123": nil, "1234": nil, "12345": errTooLarge, "123456789": errTooLarge} {
		got, err := io.ReadAll(&limited{strings.NewReader(text), 4})
		assert.Equal(t, want, err, text)
		if err == nil {
			assert.Equal(t, text, string(got))
		}
	}
	assert.EqualError(t, errTooLarge, "it unpacks to more than 256 GiB, the most that is read")
}

// The layers of an image share their bounds.
func TestWork(t *testing.T) {
	of := func(size int64) Entry { return Entry{Header: &tar.Header{Size: size}, Path: "x"} }
	w := &work{}
	assert.NoError(t, w.add(of(maxUnpacked-1)))
	assert.NoError(t, w.add(of(1)))
	assert.Equal(t, errTooLarge, w.add(of(1)))
	assert.Equal(t, errTooLarge, w.add(of(math.MaxInt64)))
	w = &work{entries: maxEntries}
	assert.ErrorContains(t, w.add(of(0)), "more than 8388608 files")
	w = &work{names: maxNames}
	assert.ErrorContains(t, w.add(of(0)), "bytes of names")
}
