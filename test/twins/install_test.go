package twins

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/built"
	"binproxy/test/need"
)

// installation is what the two guests of TestInstall do. The last line asks an apt that has no twin about what one with a twin has left.
const installation = `set -e
apt-get install -y --no-install-recommends /srv/debs/*.deb
apt-get remove -y less
apt-get autoremove -y
apt-mark manual perl
apt-cache policy perl openssl
BINPROXY=1 APT_CONFIG=/dev/null apt-cache show cowsay
`

// TestInstall installs packages with scripts, alternatives, triggers and a file made for each certificate, with and without twins: apt, dpkg-deb,
// the shell and what it calls. Everything that is left has to be the same but for dates.
func TestInstall(t *testing.T) {
	for _, guest := range guests {
		t.Run(guest.port, func(t *testing.T) {
			t.Parallel()
			need.Emulator(t, guest.qemu)
			archive, dir := buildRoot(t, guest.port), t.TempDir()
			twins, err := packNative(t.Context(), built.Binproxy(t), nativeRoot(t), filepath.Join(dir, "native"))
			require.NoError(t, err)
			trees, said := map[string]map[string]string{}, map[string]string{}
			for _, set := range []string{twins, "off"} {
				root := filepath.Join(dir, filepath.Base(set))
				require.NoError(t, os.Mkdir(root, 0o755))
				out, err := exec.Command("tar", "-C", root, "--numeric-owner", "-xpf", archive).CombinedOutput()
				require.NoError(t, err, string(out))
				output, status := run(t, "--twins", set, "--summary", "--root", root, "--", "/bin/sh", "-c", installation)
				require.Zero(t, status, output)
				trees[set] = tree(t, root)
				said[set], _, _ = strings.Cut(output, "\nbinproxy: ")
				if set == twins {
					assert.Regexp(t, `(?m)^ .* apt-get \(twin\)$`, output)
					assert.Regexp(t, `apt-cache: APT_CONFIG is set`, output)
				}
			}
			assert.Equal(t, timeless(said["off"]), timeless(said[twins]))
			want, got := trees["off"], trees[twins]
			assert.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
			assert.Contains(t, want, "/etc/ssl/certs/ca-certificates.crt")
			for name := range want {
				assert.Equal(t, want[name], got[name], name)
			}
		})
	}
}

// dated are files with dates or addresses in them: logs, and caches that their programs make anew.
var dated = regexp.MustCompile(`^/var/(log/.*|cache/apt/.*\.bin|cache/ldconfig/aux-cache)$`)

// tree describes the files below root: mode, owner, link or contents.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		name, text := strings.TrimPrefix(path, root), fmt.Sprintf("%v %d:%d", fi.Mode(), st.Uid, st.Gid)
		switch {
		case dated.MatchString(name):
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %x", len(b), sha256.Sum256(b))
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + to
		}
		files[name] = text
		return nil
	}))
	return files
}

// timeless is what was said but for what apt counts and measures on its way.
func timeless(said string) string {
	return regexp.MustCompile(`(?m)^(Fetched|\(Reading database|Get:).*\n`).ReplaceAllString(strings.ReplaceAll(said, "\r", "\n"), "")
}
