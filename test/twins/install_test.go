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

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// installation is the work of the two guests of TestInstall. Its last line asks an apt without a
// twin about what one with a twin has left.
const installation = `set -e
apt-get install -y --no-install-recommends ca-certificates less
apt-get remove -y less
apt-get autoremove -y
apt-mark manual openssl
apt-cache policy ca-certificates openssl
APT_CONFIG=/dev/null apt-cache show ca-certificates
`

// TestInstall installs packages with scripts, alternatives, triggers and a file made for each
// certificate, with and without twins: apt, dpkg-deb, the shell and what it calls. Everything that
// is left has to be the same except for dates.
func TestInstall(t *testing.T) {
	for _, guest := range guests {
		t.Run(guest.port, func(t *testing.T) {
			need.Long(t)
			t.Parallel()
			need.Emulator(t, guest.qemu)
			archive, dir := lab.Building(t, guest.port), t.TempDir()
			twins, err := packNative(t.Context(), built.Binproxy(t), lab.Root(t, arch.Host().Debian), filepath.Join(dir, "native"))
			require.NoError(t, err)
			trees, said := map[string]map[string]string{}, map[string]string{}
			for _, set := range []string{twins, "off"} {
				root := filepath.Join(dir, filepath.Base(set))
				require.NoError(t, os.Mkdir(root, 0o755))
				out, err := exec.Command("tar", "-C", root, "--numeric-owner", "-xpf", archive).CombinedOutput()
				require.NoError(t, err, string(out))
				trace := filepath.Join(dir, "trace")
				output, status := run(t, "--twins", set, "--trace", trace, "--root", root, "--", "/bin/sh", "-c", installation)
				require.Zero(t, status, output)
				trees[set], said[set] = tree(t, root), timeless(output)
				events, err := os.ReadFile(trace)
				require.NoError(t, err)
				assert.Equal(t, set == twins, regexp.MustCompile(`"name":"apt-get"[^\n]*"arch":"twin"`).Match(events))
				assert.Regexp(t, `"name":"apt-cache"[^\n]*"no_twin":"(APT_CONFIG is set|no twins are given)"`, string(events))
			}
			assert.Equal(t, said["off"], said[twins])
			want, got := trees["off"], trees[twins]
			assert.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
			assert.Contains(t, want, "/etc/ssl/certs/ca-certificates.crt")
			for name := range want {
				assert.Equal(t, want[name], got[name], name)
			}
		})
	}
}

// dated are files that contain dates or addresses: logs, and caches that their programs make
// again.
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

// timeless is the output without dpkg's progress with its database, and without apt's complaint
// that the root has no /dev/pts: the errno that the kernel gives there depends on its caches.
func timeless(said string) string {
	return regexp.MustCompile(`(?m)^(\(Reading database|E: Can not write log).*\n`).ReplaceAllString(strings.ReplaceAll(said, "\r", "\n"), "")
}
