package packages

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
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
for i in $(seq %d); do echo "$i" >%%{buildroot}/usr/bin/%[1]s-$i; done
echo program >%%{buildroot}/usr/bin/%[1]s
%%files
/usr/bin/*
`

// rpmPackages builds two packages: one of many files, whose header is longer than a page, and one
// of a single file, whose header is shorter than the largest page.
func rpmPackages(t *testing.T) (files []string) {
	t.Helper()
	rpmbuild, dir := need.Program(t, "rpmbuild", "rpm"), t.TempDir()
	for _, p := range []struct {
		name, version string
		more          int
	}{{"one", "1.0", 0}, {"sed", "4.9", 400}, {"two", "2.0", 400}} {
		file := filepath.Join(dir, p.name+".spec")
		require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, spec, p.name, p.version, p.more), 0o644))
		out, err := exec.Command(rpmbuild, "-bb", "--define", "_topdir "+dir+"/build", file).CombinedOutput()
		require.NoError(t, err, string(out))
		made, err := filepath.Glob(dir + "/build/RPMS/noarch/" + p.name + "-*.rpm")
		require.NoError(t, err)
		require.Len(t, made, 1)
		files = append(files, made[0])
	}
	return files
}

// installBy writes packages into the database in a directory, with the rpm that argv starts.
func installBy(t *testing.T, argv []string, database, backend string, packages []string) {
	t.Helper()
	argv = append(slices.Clip(argv), "--dbpath", database, "--define", "_db_backend "+backend, "--justdb", "--nodeps", "--nosignature", "-i")
	argv = append(argv, packages...)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	require.NoError(t, err, string(out))
}

func rootOf(t *testing.T, dir string) RootFD {
	t.Helper()
	root, done, err := OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(done)
	return root
}

// checkRpm asks a database that has the packages of rpmPackages.
func checkRpm(t *testing.T, dir string) {
	t.Helper()
	d := Of(rootOf(t, dir))
	assert.Equal(t, Rpm, d.Kind)
	o, err := d.Owner("/bin/sed", []string{"sed"}, nil)
	require.NoError(t, err)
	assert.Equal(t, Owner{"sed", "4.9-3.fc40", o.sum, o.want}, o)
	assert.True(t, o.Genuine(strings.NewReader("program\n")))
	assert.False(t, o.Genuine(strings.NewReader("another\n")))
	owners, err := d.Owners([]string{"/usr/bin/two-400", "/usr/bin/one", "/usr/bin/nothing"}, nil)
	require.NoError(t, err)
	require.Len(t, owners, 2)
	assert.Equal(t, "two", owners["/usr/bin/two-400"].Package)
	assert.True(t, owners["/usr/bin/two-400"].Genuine(strings.NewReader("400\n")))
	assert.Equal(t, "one", owners["/usr/bin/one"].Package)
	for _, c := range [][]string{{"/usr/bin/sed", "two"}, {"/usr/bin/nothing", "sed"}} {
		_, err = d.Owner(c[0], c[1:], nil)
		assert.ErrorIs(t, err, ErrUnknown)
	}
}

// TestRpmSQLite reads a database that rpm itself made.
func TestRpmSQLite(t *testing.T) {
	packages, dir := rpmPackages(t), t.TempDir()
	installBy(t, []string{need.Program(t, "rpm", "rpm")}, dir+"/var/lib/rpm", "sqlite", packages)
	checkRpm(t, dir)
}

// TestRpmBerkeley reads databases that Berkeley DB made of rpm's headers, and that rpm itself can
// read: in both byte orders, with short and with long pages.
func TestRpmBerkeley(t *testing.T) {
	rpm, load := need.Program(t, "rpm", "rpm"), need.Program(t, "db5.3_load", "db5.3-util")
	packages, made := rpmPackages(t), t.TempDir()
	installBy(t, []string{rpm}, made, "sqlite", packages)
	var headers [][]byte
	f, err := os.Open(made + "/rpmdb.sqlite")
	require.NoError(t, err)
	defer f.Close()
	d, err := newPages(f)
	require.NoError(t, err)
	require.NoError(t, sqliteHeaders(d, func(h []byte) bool { headers = append(headers, h); return true }))
	require.Len(t, headers, len(packages))
	for _, c := range []struct {
		name     string
		order    binary.AppendByteOrder
		lorder   int
		pageSize int
	}{
		{"little-endian", binary.LittleEndian, 1234, 4096},
		{"big-endian", binary.BigEndian, 4321, 4096},
		{"shortest pages", binary.LittleEndian, 1234, 512},
		{"longest pages", binary.LittleEndian, 1234, 65536}, // a header is beside its key
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(dir+"/var/lib/rpm", 0o755))
			dump := fmt.Sprintf("VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=%d\ndb_lorder=%d\nHEADER=END\n", c.pageSize, c.lorder)
			for i, h := range append([][]byte{c.order.AppendUint32(nil, uint32(len(headers)))}, headers...) {
				dump += fmt.Sprintf(" %x\n %x\n", c.order.AppendUint32(nil, uint32(i)), h)
			}
			cmd := exec.Command(load, dir+"/var/lib/rpm/Packages")
			cmd.Stdin = strings.NewReader(dump + "DATA=END\n")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			out, err = exec.Command(rpm, "--dbpath", dir+"/var/lib/rpm", "--define", "_db_backend bdb_ro", "-qa").CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Contains(t, string(out), "sed-4.9-3.fc40.noarch\n")
			checkRpm(t, dir)
		})
	}
}

// rpmOfTrixie is an rpm that has the format ndb, with all it needs.
func rpmOfTrixie(t *testing.T) []string {
	t.Helper()
	packages := debs.Of("trixie", arch.Host().Debian, "rpm", "rpm-common", "librpm10", "librpmio10", "librpmbuild10", "librpmsign10",
		"librpm-sequoia-1", "libc6", "libgcc-s1", "liblua5.3-0", "libpopt0", "libsqlite3-0", "libbz2-1.0", "libelf1t64", "liblzma5",
		"libzstd1", "zlib1g", "libcap2", "libacl1", "libarchive13t64", "libgomp1", "libselinux1", "libpcre2-8-0", "libaudit1",
		"libmagic1t64", "libnettle8t64", "libhogweed6t64", "libgmp10")
	unpacked := fixture.Fixture{
		Name: "debs/rpm-trixie-" + arch.Host().Debian, What: packages.String(), From: packages.From(),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			return packages.Unpack(ctx, work, made, held)
		},
	}
	dir := unpacked.For(t)
	libraries := filepath.Join(dir, "usr/lib", arch.Host().GNU)
	loaders, err := filepath.Glob(libraries + "/ld-linux*.so.*")
	require.NoError(t, err)
	require.Len(t, loaders, 1)
	return []string{loaders[0], "--library-path", libraries, dir + "/usr/bin/rpm", "--rcfile", dir + "/usr/lib/rpm/rpmrc"}
}

// TestRpmNDB reads a database that rpm itself made, and one that it changed afterwards.
func TestRpmNDB(t *testing.T) {
	need.Long(t)
	rpm := rpmOfTrixie(t)
	packages, dir := rpmPackages(t), t.TempDir()
	database := dir + "/usr/lib/sysimage/rpm"
	installBy(t, rpm, database, "ndb", packages)
	checkRpm(t, dir)
	erase := append(slices.Clip(rpm), "--dbpath", database, "--define", "_db_backend ndb", "--justdb", "-e", "one")
	out, err := exec.Command(erase[0], erase[1:]...).CombinedOutput()
	require.NoError(t, err, string(out))
	d := Of(rootOf(t, dir))
	_, err = d.Owner("/usr/bin/one", nil, nil)
	assert.ErrorIs(t, err, ErrUnknown)
	o, err := d.Owner("/usr/bin/two", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, "2.0-3.fc40", o.Version)
}

// TestRpmUnreadable: a file that is not rpm's database is an error of one line, and nothing worse.
func TestRpmUnreadable(t *testing.T) {
	circle := sqliteWith("")
	circle[100], circle[104] = interiorTable, 0 // no cells, and a last child
	copy(circle[108:], "\x00\x00\x00\x01")
	ndb := append([]byte("RpmP\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"), make([]byte, 4080)...)
	slots := slices.Clone(ndb)
	slots[12] = 255
	berkeley := berkeleyWith([]byte{itemElsewhere, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	loop := berkeleyWith([]byte{itemElsewhere, 0, 0, 0, 2, 0, 0, 0, 0, 6, 0, 0})
	for _, c := range []struct{ name, file, text, want string }{
		{"empty SQLite", "rpmdb.sqlite", "", "not a database of SQLite 3 that can be read"},
		{"a row of nothing", "rpmdb.sqlite", string(sqliteWith("\x01\x01\x00")), "it has no table Packages"},
		{"a row of fewer bytes than its header", "rpmdb.sqlite", string(sqliteWith("\x02\x01\x00\x01")), "it has no table Packages"},
		{"a tree in a circle", "rpmdb.sqlite", string(circle), "its pages lead in circles"},
		{"a row of 32 GiB", "rpmdb.sqlite", string(sqliteWith("\xff\xff\xff\xff\x7f\x01")), "not a database of SQLite 3 that can be read"},
		{"short ndb", "Packages.db", "RpmP", "unexpected EOF"},
		{"slots of zeros", "Packages.db", string(ndb), "not a database of rpm's format ndb that can be read"},
		{"slots beyond the end", "Packages.db", string(slots), "not a database of rpm's format ndb that can be read"},
		{"text", "Packages", strings.Repeat("text\n", 100), "not a hash of Berkeley DB that can be read"},
		{"a header of 4 GiB", "Packages", string(berkeley), "not a hash of Berkeley DB that can be read"},
		{"a header in a circle", "Packages", string(loop), "its pages lead in circles"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Of(tree(t, map[string]string{"var/lib/rpm/" + c.file: c.text}))
			assert.Equal(t, Rpm, d.Kind)
			_, err := d.Owner("/usr/bin/sed", []string{"sed"}, nil)
			assert.EqualError(t, err, "package database /var/lib/rpm/"+c.file+" cannot be read: "+c.want)
		})
	}
	t.Run("a directory", func(t *testing.T) {
		_, err := Of(tree(t, map[string]string{"var/lib/rpm/Packages/x": ""})).Owner("/usr/bin/sed", nil, nil)
		assert.EqualError(t, err, "package database /var/lib/rpm/Packages cannot be read: not a regular file")
	})
	t.Run("a link in a circle", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(dir+"/var/lib/rpm", 0o755))
		require.NoError(t, os.Symlink("Packages", dir+"/var/lib/rpm/Packages"))
		_, err := Of(rootOf(t, dir)).Owner("/usr/bin/sed", nil, nil)
		assert.EqualError(t, err, "package database /var/lib/rpm/Packages cannot be read: too many levels of symbolic links")
	})
	t.Run("a sparse file", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(dir+"/var/lib/rpm", 0o755))
		require.NoError(t, os.WriteFile(dir+"/var/lib/rpm/Packages", nil, 0o644))
		require.NoError(t, os.Truncate(dir+"/var/lib/rpm/Packages", 1<<40))
		_, err := Of(rootOf(t, dir)).Owner("/usr/bin/sed", nil, nil)
		assert.EqualError(t, err, "package database /var/lib/rpm/Packages cannot be read: larger than 1 GiB")
	})
	t.Run("none", func(t *testing.T) {
		d := Of(tree(t, nil))
		assert.Empty(t, d.Kind)
		_, err := d.Owner("/usr/bin/sed", nil, nil)
		assert.EqualError(t, err, "package database is not one of dpkg, apk or rpm")
	})
}

// sqliteWith is a database of one page with one row, in the table of tables.
func sqliteWith(cell string) []byte {
	page := make([]byte, 512)
	copy(page, "SQLite format 3\x00\x02\x00")
	page[100], page[104] = leafTable, 1
	copy(page[108:], "\x01\x90")
	copy(page[400:], cell)
	return page
}

// berkeleyWith is a hash with one value, and with a page that names itself as its next one.
func berkeleyWith(item []byte) []byte {
	const size = 512
	le, b := binary.LittleEndian, make([]byte, 3*size)
	le.PutUint32(b[12:], 0x61561)
	le.PutUint32(b[20:], size)
	le.PutUint32(b[32:], 2)
	b[25] = metaPage
	page := b[size:]
	le.PutUint16(page[20:], 2)
	page[25] = hashPage
	key, value := size-1, size-1-len(item)
	le.PutUint16(page[26:], uint16(key))
	le.PutUint16(page[28:], uint16(value))
	copy(page[value:], item)
	page = b[2*size:]
	le.PutUint32(page[16:], 2)
	le.PutUint16(page[22:], 1)
	page[25] = overflowPage
	return b
}

// fuzzHeaders reads a file in one of the formats: it yields no more than the file can have.
func fuzzHeaders(f *testing.F, headers func(*pages, func([]byte) bool) error) {
	f.Fuzz(func(t *testing.T, text []byte) {
		total := 0
		_ = headers(pagesOf(bytes.NewReader(text), int64(len(text))), func(h []byte) bool {
			total += len(h)
			assert.LessOrEqual(t, len(h), len(text))
			newSearch([]string{"/usr/bin/sed"}, nil).header(h)
			return true
		})
		assert.LessOrEqual(t, total, 1000*len(text))
	})
}

func FuzzSQLite(f *testing.F) {
	f.Add(sqliteWith("\x01\x01\x00"))
	f.Add(sqliteWith("\x17\x01\x06\x17\x1d\x01\x01\x01tablePackages\x01\x01"))
	fuzzHeaders(f, sqliteHeaders)
}

func FuzzBerkeley(f *testing.F) {
	f.Add(berkeleyWith([]byte("\x01a header")))
	f.Add(berkeleyWith([]byte{itemElsewhere, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0}))
	fuzzHeaders(f, berkeleyHeaders)
}

func FuzzNDB(f *testing.F) {
	page := bytes.Repeat([]byte("Slot\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 256)
	copy(page, "RpmP\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00")
	copy(page[32:], "Slot\x01\x00\x00\x00\x00\x01\x00\x00\x02\x00\x00\x00")
	f.Add(append(page, "BlbS\x01\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00a header"...))
	fuzzHeaders(f, ndbHeaders)
}

func FuzzRpmHeader(f *testing.F) {
	name := "\x00\x00\x00\x04\x00\x00\x03\xe8\x00\x00\x00\x06"
	f.Add([]byte("\x00\x00\x00\x01" + name + "\x00\x00\x00\x00\x00\x00\x00\x01sed\x00"))
	f.Add([]byte("\xff\xff\xff\xff" + name + "\x00\x00\x00\x00\x00\x00\x00\x01sed\x00"))
	f.Add([]byte("\x00\x00\x00\x01" + name + "\xff\xff\xff\xff\x00\x00\x00\x01sed\x00"))
	f.Fuzz(func(t *testing.T, text []byte) { newSearch([]string{"/usr/bin/sed"}, nil).header(text) })
}
