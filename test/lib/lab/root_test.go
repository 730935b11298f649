package lab

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

// What the tests run in a root is there after the first stage, and works.
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

// fakeDebootstrap counts its calls, writes a root.
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

// A mirror that hiccups is asked again, for a root that has nothing of the first attempt.
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

// Without a network the real debootstrap ends soon, and the error is a line.
func TestFirstStageWithoutNetwork(t *testing.T) {
	need.Root(t)
	need.Program(t, "debootstrap", "debootstrap")
	for name, url := range map[string]func(testing.TB) string{"nobody listens": archive.Nobody, "nobody answers": archive.Silent} {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			t.Setenv("BINPROXY_MIRROR", url)
			t.Setenv("HOME", t.TempDir())
			t.Setenv("WGETRC", "")
			usual := patience
			t.Cleanup(func() { patience = usual })
			patience = apt.Patience{Answer: time.Second, Pauses: []time.Duration{time.Millisecond}}
			for _, proxy := range []string{"http_proxy", "HTTP_PROXY"} {
				t.Setenv(proxy, "")
			}
			_, err := MakeFirstStage(context.Background(), "arm64", io.Discard)
			assert.EqualError(t, err, "debootstrap of bookworm for arm64: exit status 1: Failed getting release file "+url+"/dists/bookworm/Release")
		})
	}
}
