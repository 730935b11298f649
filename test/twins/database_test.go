package twins

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/musl"
	"binproxy/test/lib/need"
)

// A distribution without dpkg: it makes a program of its own for an architecture, and writes it
// into the package database of a root.
type distribution struct {
	id      string
	program string
	install func(t *testing.T, root, port, version string)
}

var distributions = []distribution{
	{"fedora", "gzip", installRPM},
	{"alpine", "bzip2", installAPK},
}

// TestDatabases packs twins in a root with a database of rpm or apk, the latter with musl's
// loader. It runs them for a guest of the same distribution, but not for one that has another
// version.
func TestDatabases(t *testing.T) {
	need.Root(t)
	need.Emulator(t, "aarch64")
	host := arch.Host().Debian
	for _, d := range distributions {
		t.Run(d.id, func(t *testing.T) {
			native, guest, other := t.TempDir(), t.TempDir(), t.TempDir()
			for root, of := range map[string][2]string{native: {host, "1.12"}, guest: {"arm64", "1.12"}, other: {"arm64", "1.11"}} {
				require.NoError(t, os.MkdirAll(root+"/etc", 0o755))
				require.NoError(t, os.WriteFile(root+"/etc/os-release", []byte("ID="+d.id+"\n"), 0o644))
				require.NoError(t, os.WriteFile(root+"/text", []byte(strings.Repeat("some text\n", 1000)), 0o644))
				d.install(t, root, of[0], of[1])
			}
			copyFile(t, built.Binproxy(t), native+"/binproxy")
			require.NoError(t, os.Mkdir(native+"/dev", 0o755))
			require.NoError(t, unix.Mknod(native+"/dev/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
			out, err := exec.Command("chroot", native, "/binproxy", "twin", "pack", "-o", "/twins").CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Regexp(t, d.program+` +any +`+d.program+` 1\.12-`, string(out))
			for root, why := range map[string]string{guest: "", other: "the guest's is 1.11, the twin is 1.12"} {
				want, status := run(t, "--twins", "off", "--root", root, "--", d.program, "-9c", "/text")
				require.Zero(t, status, want)
				got, status := run(t, "--twins", native+"/twins", "--root", root, "--", d.program, "-9c", "/text")
				require.Zero(t, status, got)
				assert.Equal(t, want, got)
				said, _ := run(t, "--twins", native+"/twins", "--summary", "--root", root, "--", d.program, "-tv", "/text")
				if why == "" {
					assert.Contains(t, said, "1 programs ran as twins")
					continue
				}
				assert.Contains(t, said, d.program+": "+why)
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, text, 0o755))
}

// installRPM installs an RPM with Debian's gzip and its C library, by rpm.
func installRPM(t *testing.T, root, port, version string) {
	rpmbuild, abi, top := need.Program(t, "rpmbuild", "rpm"), mustParse(t, port), t.TempDir()
	packages := debs.Of(lab.Suite, port, "gzip", "libc6")
	unpacked := fixture.Fixture{
		Name: "debs/gzip-libc6-" + lab.Suite + "-" + port, What: packages.String(), From: packages.From(),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			return packages.Unpack(ctx, work, made, held)
		},
	}
	files := unpacked.For(t)
	loader, library := "/lib/ld-linux-aarch64.so.1", "/lib/aarch64-linux-gnu"
	if port == "amd64" {
		loader, library = "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu"
	}
	spec := fmt.Sprintf(`Name: gzip
Version: %s
Release: 2.fc40
Summary: gzip
License: GPL
AutoReqProv: no
%%description
gzip
%%install
mkdir -p %%{buildroot}/usr/bin %%{buildroot}%[2]s %%{buildroot}%[3]s
cp %[4]s/bin/gzip %%{buildroot}/usr/bin/
cp -L %[4]s%[2]s/libc.so.6 %%{buildroot}%[2]s/
cp -L %[4]s%[5]s %%{buildroot}%[5]s
%%files
/usr/bin/gzip
%[2]s/libc.so.6
%[5]s
`, version, library, filepath.Dir(loader), files, loader)
	require.NoError(t, os.WriteFile(top+"/gzip.spec", []byte(spec), 0o644))
	out, err := exec.Command(rpmbuild, "-bb", "--target", abi.Machine, "--define", "_topdir "+top, "--define", "__strip /bin/true",
		"--define", "debug_package %{nil}", "--define", "__os_install_post %{nil}", top+"/gzip.spec").CombinedOutput()
	require.NoError(t, err, "%s", out)
	rpms, err := filepath.Glob(top + "/RPMS/*/*.rpm")
	require.NoError(t, err)
	require.Len(t, rpms, 1)
	out, err = exec.Command("rpm", "--root", root, "--dbpath", "/usr/lib/sysimage/rpm", "--ignorearch", "--nodeps", "-i", rpms[0]).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// installAPK builds bzip2 from its source against musl, and writes it into a database like apk's.
func installAPK(t *testing.T, root, port, version string) {
	abi := mustParse(t, port)
	toolchain, source, program := musl.For(t, abi), debs.Source(t, lab.Suite, "bzip2"), root+"/usr/bin/bzip2"
	require.NoError(t, os.MkdirAll(root+"/usr/bin", 0o755))
	args := []string{"-O2", "-w", "-o", program}
	for _, name := range []string{"blocksort", "huffman", "crctable", "randtable", "compress", "decompress", "bzlib", "bzip2"} {
		args = append(args, source+"/"+name+".c")
	}
	out, err := exec.Command(toolchain.Compiler, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	copyFile(t, toolchain.Loader, root+toolchain.Place)
	database := ""
	for _, p := range []struct{ name, version, file string }{{"musl", "1.2.3-r4", toolchain.Place}, {"bzip2", version + "-r1", "/usr/bin/bzip2"}} {
		text, err := os.ReadFile(root + p.file)
		require.NoError(t, err)
		sum := sha1.Sum(text)
		dir, name := filepath.Split(p.file)
		database += fmt.Sprintf("C:Q1x\nP:%s\nV:%s\nA:%s\nF:%s\nR:%s\na:0:0:755\nZ:Q1%s\n\n", p.name, p.version, abi.Machine,
			strings.Trim(dir, "/"), name, base64.StdEncoding.EncodeToString(sum[:]))
	}
	require.NoError(t, os.MkdirAll(root+"/lib/apk/db", 0o755))
	require.NoError(t, os.WriteFile(root+"/lib/apk/db/installed", []byte(database), 0o644))
}

func mustParse(t *testing.T, name string) *arch.ABI {
	t.Helper()
	abi, err := arch.Parse(name)
	require.NoError(t, err)
	return abi
}
