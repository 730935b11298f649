package container

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
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

// apk finds Alpine's package manager, which no Debian release has: the test runs only if it is in
// PATH.
func apk(t *testing.T) string {
	path, err := exec.LookPath("apk")
	need.Given(t, err == nil, "apk in PATH, of Alpine's apk-tools; no Debian package has it")
	return path
}

// apkKey signs as abuild-sign does. keys is the directory where apk finds the public part.
type apkKey struct {
	private *rsa.PrivateKey
	keys    string
}

func newAPKKey(t *testing.T, dir string) apkKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(dir+"/keys", 0o755))
	require.NoError(t, os.WriteFile(dir+"/keys/test.rsa.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644))
	return apkKey{key, dir + "/keys"}
}

// signed is the data after its signature, a tar of its own that is packed separately and has no
// end.
func (k apkKey) signed(t *testing.T, data []byte) []byte {
	sum := sha256.Sum256(data)
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, sum[:])
	require.NoError(t, err)
	return append(segment(t, false, apkFile{".SIGN.RSA256.test.rsa.pub", 0o644, "", string(signature)}), data...)
}

// apkFile is a file of a package; with a link it is a symbolic link, with a slash at its end a
// directory.
type apkFile struct {
	name       string
	mode       int64
	link, text string
}

// segment is one of the packed tars that make a package. Only the last one has a tar's end.
func segment(t *testing.T, last bool, files ...apkFile) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.text)), Linkname: f.link, Uname: "root", Gname: "root"}
		switch {
		case f.link != "":
			h.Typeflag = tar.TypeSymlink
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if h.Typeflag != tar.TypeDir { // apk records it
			h.PAXRecords = map[string]string{"APK-TOOLS.checksum.SHA1": fmt.Sprintf("%x", sha1.Sum([]byte(f.text+f.link)))}
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(f.text))
		require.NoError(t, err)
	}
	end := w.Flush
	if last {
		end = w.Close
	}
	require.NoError(t, errors.Join(end(), z.Close()))
	return b.Bytes()
}

// apks makes a repository of aarch64 packages: busybox as the shell, and one whose script prints
// the machine it runs on. They are signed, and so is the index, which apk makes.
func apks(t *testing.T, k apkKey, dir, busybox string) (mirror string) {
	shell, err := os.ReadFile(busybox)
	require.NoError(t, err)
	mirror = dir + "/alpine"
	at := mirror + "/aarch64"
	require.NoError(t, os.MkdirAll(at, 0o755))
	make := func(name, depends string, scripts []apkFile, files ...apkFile) {
		data := segment(t, true, files...)
		info := fmt.Sprintf("pkgname = %s\npkgver = 1-r0\npkgdesc = a test's\nurl = https://example.org\narch = aarch64\nlicense = GPL\nsize = %d\ndatahash = %x\n%s",
			name, len(shell), sha256.Sum256(data), depends)
		control := segment(t, false, append([]apkFile{{".PKGINFO", 0o644, "", info}}, scripts...)...)
		require.NoError(t, os.WriteFile(at+"/"+name+"-1-r0.apk", append(k.signed(t, control), data...), 0o644))
	}
	make("tiny-base", "", nil, apkFile{"bin/", 0o755, "", ""}, apkFile{"bin/busybox", 0o755, "", string(shell)}, apkFile{"bin/sh", 0o777, "busybox", ""}, apkFile{"bin/uname", 0o777, "busybox", ""})
	make("says-where", "depend = tiny-base\n", []apkFile{{".post-install", 0o755, "", "#!/bin/sh\nuname -m >/machine\n"}}, apkFile{"etc/", 0o755, "", ""}, apkFile{"etc/says-where", 0o644, "", "\n"})
	packages, err := filepath.Glob(at + "/*.apk")
	require.NoError(t, err)
	index := exec.Command(apk(t), append([]string{"index", "--keys-dir", k.keys, "--output", at + "/APKINDEX.tar.gz"}, packages...)...)
	out, err := index.CombinedOutput()
	require.NoError(t, err, "%s", out)
	text, err := os.ReadFile(at + "/APKINDEX.tar.gz")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at+"/APKINDEX.tar.gz", k.signed(t, text), 0o644))
	return mirror
}

// Alpine's apk makes a root from a small repository of aarch64 packages, one of which has a script
// that runs in the root, by either route. A signature by another key ends it.
func TestAPK(t *testing.T) {
	w := root(t)
	apk(t)
	top := w.dir()
	k := newAPKKey(t, top)
	mirror := apks(t, k, top, busybox(t, "arm64"))
	both(t, func(t *testing.T, w who) {
		for _, route := range []string{"userns", "supervise"} {
			dir := w.dir()
			args := []string{"bootstrap", "--arch", "arm64", "--from", "apk", "--mirror", mirror, "--route", route, "--variant", "custom", "--include", "says-where"}
			w.does(append(args, "--keyring", k.keys, dir+"/root")...)
			assertMade(t, dir+"/root")
			machine, err := os.ReadFile(dir + "/root/machine")
			require.NoError(t, err, "the package's script")
			assert.Equal(t, "aarch64\n", string(machine))
			repositories, err := os.ReadFile(dir + "/root/etc/apk/repositories")
			require.NoError(t, err, "for what is installed later")
			assert.Equal(t, mirror+"\n", string(repositories))
			w.does("container", "create", "--arch", "arm64", "--location", dir+"/root")
			assert.Equal(t, "aarch64\n", w.does("container", "enter", "aarch64", "--", "/bin/uname", "-m"))
			w.does("container", "remove", "aarch64")

			other := newAPKKey(t, dir)
			refused := run(w.cmd(append(args, "--keyring", other.keys, dir+"/unsigned")...))
			assert.Equal(t, 125, refused.status, refused)
			assert.Contains(t, refused.err, "BAD signature")
			assert.Contains(t, refused.err, "The unfinished root is in")
			assert.NoDirExists(t, dir+"/unsigned")
			w.does("bootstrap", "--remove", dir+"/unsigned")
		}
	})
}
