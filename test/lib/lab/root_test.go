package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/apt"
	"binproxy/emu/arch"
	"binproxy/test/lib/archive"
	"binproxy/test/lib/need"
)

// The programs that tests run in a root exist after the first stage, and work.
func TestRoot(t *testing.T) {
	for _, port := range []string{"arm64", "armhf"} {
		t.Run(port, func(t *testing.T) {
			abi, err := arch.Parse(port)
			require.NoError(t, err)
			emulator := need.Emulator(t, abi.QEMU)
			root := Unpack(t, FirstStage(t, port))

			proc, err := os.Lstat(filepath.Join(root, "proc"))
			require.NoError(t, err)
			assert.True(t, proc.IsDir())
			for _, tt := range []struct{ argv, want string }{
				{"/bin/sh -c pwd", "/"},
				{"/bin/bash --version", "GNU bash"},
				{"/bin/date --version", "GNU coreutils"},
				{"/usr/bin/perl -e print$]", "5."},
				{"/usr/bin/mawk BEGIN{print(6*7)}", "42"},
				{"/bin/uname -m", abi.Machine},
			} {
				argv := strings.Fields(tt.argv)
				program, err := filepath.EvalSymlinks(filepath.Join(root, argv[0]))
				require.NoError(t, err)
				cmd := exec.Command(emulator, append([]string{"-L", root, program}, argv[1:]...)...)
				cmd.Dir = "/"
				out, err := cmd.CombinedOutput()
				assert.NoError(t, err, tt.argv)
				assert.Contains(t, string(out), tt.want, tt.argv)
			}
		})
	}
}

// fakeDebootstrap counts its calls, and writes a root.
const fakeDebootstrap = `#!/bin/sh
echo "I: Retrieving $*"
echo call >>"$FAKE/calls"
for root; do case $root in /*/root) break ;; esac; done
mkdir -p "$root/bin"
ln -s /proc "$root/proc"
echo half >"$root/bin/half"
[ ! -e "$FAKE/hiccup" ] || { rm "$FAKE/hiccup"; exit 1; }
rm "$root/bin/half"
echo whole >"$root/bin/whole"
`

func fakeCache(t *testing.T) (calls func() int, fake string) {
	t.Helper()
	need.Root(t)
	fake = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(fake, "debootstrap"), []byte(fakeDebootstrap), 0o755))
	t.Setenv("FAKE", fake)
	t.Setenv("PATH", fake+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(fake, "cache"))
	t.Setenv("BINPROXY_MIRROR", "http://mirror.invalid/debian")
	return func() int {
		text, _ := os.ReadFile(filepath.Join(fake, "calls"))
		return strings.Count(string(text), "call")
	}, fake
}

// A mirror that fails in passing is asked again, and the root has nothing of the first attempt.
func TestFirstStageHiccup(t *testing.T) {
	calls, fake := fakeCache(t)
	require.NoError(t, os.WriteFile(filepath.Join(fake, "hiccup"), nil, 0o644))
	path, err := MakeFirstStage(context.Background(), "arm64", os.Stderr)
	require.NoError(t, err)
	assert.Equal(t, 2, calls())
	listing, err := output(exec.Command("tar", "-tf", path))
	require.NoError(t, err)
	assert.Equal(t, "./\n./bin/\n./bin/whole\n./proc/\n", listing)
}

// unreachable are mirrors that do not answer.
var unreachable = map[string]func(testing.TB) string{"nobody listens": archive.Nobody, "nobody answers": archive.Silent}

// onlyMirror makes a mirror the only one, without any configuration, with an empty cache and
// little patience.
func onlyMirror(t *testing.T, url string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("BINPROXY_MIRROR", url)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("WGETRC", "")
	for _, proxy := range []string{"http_proxy", "HTTP_PROXY"} {
		t.Setenv(proxy, "")
	}
	usual := patience
	t.Cleanup(func() { patience = usual })
	patience = apt.Patience{Answer: time.Second, Pauses: []time.Duration{time.Millisecond}}
}

// Without a network the real debootstrap ends soon, and the error is one line.
func TestFirstStageWithoutNetwork(t *testing.T) {
	need.Root(t)
	need.Program(t, "debootstrap", "debootstrap")
	for name, url := range unreachable {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			onlyMirror(t, url)
			_, err := MakeFirstStage(context.Background(), "arm64", io.Discard)
			assert.EqualError(t, err, "debootstrap of bookworm for arm64: exit status 1: Failed getting release file "+url+"/dists/bookworm/Release")
		})
	}
}

// skipped is a test that records why it was skipped.
type skipped struct {
	testing.TB
	reason string
}

func (s *skipped) Helper()                       {}
func (s *skipped) Skipf(format string, a ...any) { s.reason = fmt.Sprintf(format, a...) }

// Without a network the real mmdebstrap ends soon, too. A test that needs its root is skipped with
// apt's reason.
func TestRootWithoutNetwork(t *testing.T) {
	needMmdebstrap(t)
	for name, url := range unreachable {
		t.Run(name, func(t *testing.T) {
			if name == "nobody answers" {
				need.Long(t)
			}
			url := url(t)
			onlyMirror(t, url)
			t.Setenv("CI", "")
			test := &skipped{TB: t}
			Root(test, "arm64")
			assert.Regexp(t, `^needs a Debian root of arm64 \(minbase\): mmdebstrap: exit status \d+: `+
				regexp.QuoteMeta(url+"/dists/bookworm/InRelease: ")+".+", test.reason)
			assert.NotContains(t, test.reason, "\n")
		})
	}
}

// The cache may be below /tmp, which a root's makers otherwise replace by a directory of their
// own: a fixture can be made there, /tmp is writable, and the rest of the machine is not.
func TestCacheBelowTmp(t *testing.T) {
	need.Root(t)
	need.Program(t, "unshare", "util-linux")
	elsewhere, err := os.MkdirTemp("/var/tmp", "binproxy-test-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(elsewhere)) })
	below, err := os.MkdirTemp("/tmp", "binproxy-test-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(below)) })
	for name, dir := range map[string]string{"/tmp": below, "elsewhere": elsewhere} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
			made := filepath.Join(dir, "made")
			held, err := os.Create(filepath.Join(dir, "held"))
			require.NoError(t, err)
			defer held.Close()
			script := `echo whole >"$MADE" && mktemp && ! touch "/var/cache/$0"`
			err = runOnlyThere(t.Context(), dir, made, held, []string{"sh", "-c", script, filepath.Base(dir)})
			require.NoError(t, err)
			text, err := os.ReadFile(made)
			require.NoError(t, err)
			assert.Equal(t, "whole\n", string(text))
			assert.NoFileExists(t, filepath.Join("/var/cache", filepath.Base(dir)))
		})
	}
}
