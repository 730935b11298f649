package lab

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A layer means the same file system whether or not it repeats what is below it.
func TestTreeOver(t *testing.T) {
	const file, other, dir = `0 644 0:0 0,0 "" aa`, `0 644 0:0 0,0 "" bb`, `5 755 0:0 0,0 "" ee`
	below := Tree{"/": dir, "/a": file, "/d": dir, "/d/x": file, "/d/y": file, "/dd": file, "/gone": dir, "/gone/z": file}
	want := Tree{"/": dir, "/a": file, "/b": file, "/d": dir, "/d/new": other, "/dd": file}
	for name, layer := range map[string]Tree{
		"brief":  {"/b": file, "/d/new": other, "/d/.wh.x": "", "/d/.wh.y": "", "/.wh.gone": ""},
		"opaque": {"/": dir, "/a": `1 644 0:0 0,0 "/b" ee`, "/b": file, "/d": dir, "/d/.wh..wh..opq": "", "/d/new": other, "/.wh.gone": ""},
	} {
		assert.Equal(t, want, layer.Over(below), name)
	}
}
