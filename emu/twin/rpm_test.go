package twin

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

const spec = `Name: %s
Version: %s
Release: 3.fc40
Epoch: 1
Summary: s
License: none
BuildArch: noarch
%%description
d
%%install
mkdir -p %%{buildroot}/usr/bin
for i in $(seq 400); do echo "$i" >%%{buildroot}/usr/bin/%s-$i; done
echo program >%%{buildroot}/usr/bin/%s
%%files
/usr/bin/*
`

// TestAskRpm reads a database that rpm itself has made, of packages that rpmbuild has made. Their
// headers are longer than a page.
func TestAskRpm(t *testing.T) {
	rpmbuild, rpmProgram := need.Program(t, "rpmbuild", "rpm"), need.Program(t, "rpm", "rpm")
	dir := t.TempDir()
	database := filepath.Join(dir, "root/var/lib/rpm")
	for _, p := range []struct{ name, version string }{{"one", "1.0"}, {"sed", "4.9"}, {"two", "2.0"}} {
		file := filepath.Join(dir, p.name+".spec")
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, spec, p.name, p.version, p.name, p.name), 0o644))
		out, err := exec.Command(rpmbuild, "-bb", "--define", "_topdir "+dir+"/build", file).CombinedOutput()
		require.NoError(t, err, string(out))
		packages, err := filepath.Glob(dir + "/build/RPMS/noarch/" + p.name + "-*.rpm")
		require.NoError(t, err)
		require.Len(t, packages, 1)
		out, err = exec.Command(rpmProgram, "--dbpath", database, "--define", "_db_backend sqlite", "--justdb", "--nodeps", "-i", packages[0]).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	root, done, err := OpenRoot(filepath.Join(dir, "root"))
	require.NoError(t, err)
	defer done()
	assert.Equal(t, rpm, DatabaseOf(root))
	o, err := ask(root, rpm, "/bin/sed", []string{"sed"}, nil)
	require.NoError(t, err)
	assert.Equal(t, owned{rpm, "sed", "4.9-3.fc40", o.sum, o.want}, o)
	assert.True(t, o.genuine(strings.NewReader("program\n")))
	assert.False(t, o.genuine(strings.NewReader("another\n")))
	o, err = ask(root, rpm, "/usr/bin/two-400", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, "two", o.pkg)
	assert.True(t, o.genuine(strings.NewReader("400\n")))
	for _, c := range [][]string{{"/usr/bin/sed", "two"}, {"/usr/bin/nothing", "sed"}} {
		_, err = ask(root, rpm, c[0], c[1:], nil)
		assert.ErrorIs(t, err, errUnknown)
	}
}

func FuzzSQLite(f *testing.F) {
	page := make([]byte, 512)
	copy(page, "SQLite format 3\x00\x02\x00")
	page[100], page[104] = leafTable, 1
	f.Add(page)
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := openSQLite(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			return
		}
		_ = d.table("Packages", func(record []byte) bool {
			if columns := parseRecord(record); len(columns) > 1 {
				rpmHeader(columns[1]).owns("/usr/bin/sed", nil)
			}
			return true
		})
	})
}

func FuzzRpmHeader(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x03\xe8\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01sed\x00"))
	f.Fuzz(func(t *testing.T, text []byte) { rpmHeader(text).owns("/usr/bin/sed", nil) })
}
