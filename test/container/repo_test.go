package container

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// A signer has a key of its own, and its public part in the forms that bootstrappers need.
type signer struct {
	home            string
	keyring, armour string // files
}

func newSigner(t testing.TB, dir string) signer {
	t.Helper()
	need.Program(t, "gpg", "gnupg")
	s := signer{home: dir + "/gnupg", keyring: dir + "/key.gpg", armour: dir + "/key.asc"}
	require.NoError(t, os.MkdirAll(s.home, 0o700))
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", s.home, "--kill", "all").Run() })
	s.gpg(t, "--quick-generate-key", "--batch", "--passphrase", "", "Test <test@example.org>", "rsa3072", "sign", "never")
	s.gpg(t, "--export", "--output", s.keyring)
	s.gpg(t, "--armor", "--export", "--output", s.armour)
	return s
}

func (s signer) gpg(t testing.TB, args ...string) {
	t.Helper()
	out, err := exec.Command("gpg", append([]string{"--homedir", s.home, "--batch", "--yes", "--pinentry-mode", "loopback"}, args...)...).CombinedOutput()
	require.NoError(t, err, "gpg %v: %s", args, out)
}

// suite is the release of the test's Debian repositories.
const suite = lab.Suite

// small is the least that a root made by debootstrap can have, without dependencies.
var small = []string{"apt", "base-files", "base-passwd", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "findutils", "grep", "gzip", "libc-bin", "mawk",
	"perl-base", "sed", "tar", "usr-is-merged"}

// debian makes a Debian repository of one architecture in the directory, and makes and signs its
// index. It has the packages of minbase unchanged, or, if whole is false, Debian's own contents
// and scripts packed again for speed: uncompressed, since the emulated dpkg unpacks them, without
// manuals and translations, and with only small required. The cache keeps it, unsigned.
func debian(t testing.TB, arch string, s signer, whole bool) (mirror string) {
	t.Helper()
	repo := repository(t, arch, whole).For(t)
	mirror = filepath.Join(filepath.Dir(s.keyring), "mirror-"+arch)
	dist := mirror + "/dists/" + suite
	require.NoError(t, os.MkdirAll(dist, 0o755))
	require.NoError(t, os.CopyFS(mirror+"/pool", os.DirFS(repo+"/pool")))
	require.NoError(t, os.CopyFS(dist+"/main", os.DirFS(repo+"/main")))
	release := fmt.Sprintf("Suite: %s\nCodename: %s\nDate: %s\nArchitectures: %s\nComponents: main\nSHA256:\n", suite, suite,
		time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"), arch)
	for _, name := range []string{"Packages", "Packages.gz"} {
		path := "main/binary-" + arch + "/" + name
		text, err := os.ReadFile(dist + "/" + path)
		require.NoError(t, err)
		release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256(text), len(text), path)
	}
	require.NoError(t, os.WriteFile(dist+"/Release", []byte(release), 0o644))
	s.gpg(t, "--armor", "--detach-sign", "--output", dist+"/Release.gpg", dist+"/Release")
	s.gpg(t, "--clearsign", "--output", dist+"/InRelease", dist+"/Release")
	return "file://" + mirror
}

// minbase is what debootstrap's variant of that name takes.
var minbase = []string{"apt", "usr-is-merged", "?essential", "?priority(required)"}

// repository is the part that debian signs: pool and index.
func repository(t testing.TB, arch string, whole bool) *fixture.Fixture {
	set, names, script := "small", small, repackScript
	if whole {
		set, names, script = "minbase", minbase, ""
	}
	return &fixture.Fixture{
		Name: "repositories/" + suite + "-" + arch + "-" + set, What: "a repository of Debian's packages for " + arch,
		From: append([]string{script}, names...),
		Make: func(_ context.Context, _, made string, held *os.File) error {
			packages := lab.Packages(t, arch, set, names...)
			debs, err := filepath.Glob(packages + "/*.deb")
			require.NoError(t, err)
			makeDebian(t, arch, debs, made, script, held)
			return nil
		},
	}
}

// makeDebian puts packages, packed again by a script, into a pool, and makes the index.
func makeDebian(t testing.TB, arch string, debs []string, repo, script string, held *os.File) {
	require.NoError(t, os.MkdirAll(repo+"/pool", 0o755))
	var index bytes.Buffer
	for _, deb := range debs {
		text, err := os.ReadFile(deb)
		require.NoError(t, err)
		path := repo + "/pool/" + strings.ReplaceAll(filepath.Base(deb), "%3a", "_")
		require.NoError(t, os.WriteFile(path, text, 0o644))
		if script != "" {
			repack(t, script, path, held)
		}
		index.WriteString(stanza(t, path))
	}
	dir := repo + "/main/binary-" + arch
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(dir+"/Packages", index.Bytes(), 0o644))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(index.Bytes())
	require.NoError(t, errors.Join(err, w.Close()))
	require.NoError(t, os.WriteFile(dir+"/Packages.gz", packed.Bytes(), 0o644))
}

// stanza is a package's paragraph in the index.
func stanza(t testing.TB, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	control, err := exec.Command("dpkg-deb", "-f", path).Output()
	require.NoError(t, err)
	return fmt.Sprintf("%sFilename: pool/%s\nSize: %d\nSHA256: %x\n\n", control, filepath.Base(path), len(text), sha256.Sum256(text))
}

// repackScript packs a package again for debian's small repositories.
const repackScript = `set -e
dpkg-deb -R "$DEB" "$DEB.d"
rm -rf "$DEB.d/usr/share/doc" "$DEB.d/usr/share/man" "$DEB.d/usr/share/locale" "$DEB.d/usr/share/info"
name=$(sed -n 's/^Package: //p' "$DEB.d/DEBIAN/control")
case " $SMALL " in
*" $name "*) priority=required ;;
*) priority=optional; sed -i '/^Essential:/d' "$DEB.d/DEBIAN/control" ;;
esac
sed -i "s/^Priority: .*/Priority: $priority/" "$DEB.d/DEBIAN/control"
dpkg-deb -Znone --build "$DEB.d" "$DEB" >/dev/null
rm -rf "$DEB.d"
`

func repack(t testing.TB, script, path string, held *os.File) {
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "DEB="+path, "SMALL="+strings.Join(small, " "))
	cmd.ExtraFiles = []*os.File{held}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// rpms makes a repository of aarch64 packages: busybox as the shell, and one whose script prints
// the machine it runs on. They are signed, and so is the index.
func rpms(t testing.TB, s signer, dir, busybox string) (url string) {
	t.Helper()
	rpmbuild := need.Program(t, "rpmbuild", "rpm")
	createrepo := need.Program(t, "createrepo_c", "createrepo-c")
	need.Program(t, "rpmsign", "rpm")
	spec := `Name: tiny-base
Version: 1
Release: 1
Summary: A shell
License: GPL
AutoReqProv: no
Provides: /bin/sh
%description
A shell.
%install
mkdir -p %{buildroot}/bin %{buildroot}/etc
cp ` + busybox + ` %{buildroot}/bin/busybox
ln -s busybox %{buildroot}/bin/sh
ln -s busybox %{buildroot}/bin/uname
%files
/bin/busybox
/bin/sh
/bin/uname
%package -n says-where
Summary: Says where
Requires: tiny-base
AutoReqProv: no
%description -n says-where
Says where.
%files -n says-where
%post -n says-where
uname -m >/machine
`
	top := dir + "/rpmbuild"
	require.NoError(t, os.MkdirAll(top, 0o755))
	require.NoError(t, os.WriteFile(top+"/tiny.spec", []byte(spec), 0o644))
	out, err := exec.Command(rpmbuild, "-bb", "--target", "aarch64", "--define", "_topdir "+top, "--define", "__strip /bin/true",
		"--define", "debug_package %{nil}", "--define", "__os_install_post %{nil}", top+"/tiny.spec").CombinedOutput()
	require.NoError(t, err, "%s", out)
	repo := top + "/RPMS"
	files, err := filepath.Glob(repo + "/aarch64/*.rpm")
	require.NoError(t, err)
	require.Len(t, files, 2)
	sign := exec.Command("rpmsign", append([]string{"--define", "_gpg_name Test", "--define", "_gpg_path " + s.home, "--define", "__gpg " + need.Program(t, "gpg", "gnupg"), "--addsign"}, files...)...)
	out, err = sign.CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(createrepo, repo).CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.gpg(t, "--armor", "--detach-sign", "--output", repo+"/repodata/repomd.xml.asc", repo+"/repodata/repomd.xml")
	require.NoError(t, os.WriteFile(repo+"/repodata/repomd.xml.key", must(os.ReadFile(s.armour)), 0o644))
	return "file://" + repo
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
