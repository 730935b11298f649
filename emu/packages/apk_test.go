package packages

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const installed = `P:busybox
V:1.36.1-r5
F:bin
R:busybox
a:0:0:755
Z:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=
R:bbsuid

P:sed
V:4.9-r2
F:bin
R:sed
a:0:0:755
Z:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=

P:grep
V:3.11-r0
F:usr/bin
R:grep
`

func TestApk(t *testing.T) {
	root := tree(t, map[string]string{"lib/apk/db/installed": installed})
	assert.Equal(t, Apk, Of(root).Kind)
	o, err := Of(root).Owner("/bin/sed", []string{"sed"}, nil)
	require.NoError(t, err)
	assert.Equal(t, "4.9-r2", o.Version)
	assert.True(t, o.Genuine(strings.NewReader("")), "the checksum is that of nothing")
	assert.False(t, o.Genuine(strings.NewReader("x")))
	o, err = Of(root).Owner("/usr/bin/grep", []string{"grep"}, nil)
	require.NoError(t, err)
	assert.Equal(t, "3.11-r0", o.Version)
	_, err = Of(root).Owner("/bin/busybox", []string{"sed"}, nil)
	assert.ErrorIs(t, err, ErrUnknown)
	o, err = Of(root).Owner("/bin/busybox", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, "busybox", o.Package)
}

// Several files at once, and a line longer than any of apk's.
func TestOwnersByApk(t *testing.T) {
	root := tree(t, map[string]string{"usr/lib/apk/db/installed": installed})
	owners, err := Of(root).Owners([]string{"/bin/sed", "/bin/busybox", "/bin/grep", "/bin/none"}, nil)
	require.NoError(t, err)
	versions := map[string]string{}
	for file, o := range owners {
		versions[file] = o.Package + " " + o.Version
	}
	assert.Equal(t, map[string]string{"/bin/sed": "sed 4.9-r2", "/bin/busybox": "busybox 1.36.1-r5", "/bin/grep": "grep 3.11-r0"}, versions)
	assert.NotEmpty(t, owners["/bin/busybox"].want)
	assert.Empty(t, owners["/bin/grep"].want)

	root = tree(t, map[string]string{"lib/apk/db/installed": strings.Repeat("x", 1<<20+1) + "\n" + installed})
	_, err = Of(root).Owner("/bin/sed", []string{"sed"}, nil)
	assert.EqualError(t, err, "package database /lib/apk/db/installed cannot be read: bufio.Scanner: token too long")
}

func FuzzReadApk(f *testing.F) {
	f.Add(installed)
	f.Fuzz(func(t *testing.T, text string) {
		s := newSearch([]string{"/bin/sed"}, []string{"sed"})
		if _ = s.readApk(strings.NewReader(text)); s.done() {
			assert.Equal(t, "sed", s.found["/bin/sed"].Package)
		}
	})
}
