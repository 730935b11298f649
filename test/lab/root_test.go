package lab

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/archive"
	"binproxy/test/need"
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
			patience = 1
			for _, proxy := range []string{"http_proxy", "HTTP_PROXY"} {
				t.Setenv(proxy, "")
			}
			_, err := MakeFirstStage(context.Background(), "arm64", io.Discard)
			assert.EqualError(t, err, "debootstrap of bookworm for arm64: exit status 1: Failed getting release file "+url+"/dists/bookworm/Release")
		})
	}
}

// apt's configuration, in both of its forms, is read by apt itself.
func TestMirror(t *testing.T) {
	need.Program(t, "apt-get", "apt")
	list := filepath.Join(t.TempDir(), "mirrors")
	require.NoError(t, os.WriteFile(list, []byte("http://u.invalid/ubuntu\nhttp://first.invalid/debian\tpriority:1\nhttp://second.invalid/debian\n"), 0o644))
	for _, tt := range []struct{ name, file, text, want string }{
		{"one line", "a.list", "deb http://m.invalid/debian bookworm main\n", "http://m.invalid/debian"},
		{"deb822", "a.sources", "Types: deb\nURIs: http://m.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main\n", "http://m.invalid/debian"},
		{"security first", "a.list", "deb http://s.invalid/debian bookworm-security main\ndeb http://m.invalid/debian bookworm main\n", "http://m.invalid/debian"},
		{"another distribution", "a.list", "deb http://m.invalid/ubuntu noble main\n", ""},
		{"a list of mirrors", "a.list", "deb mirror+file:" + list + " bookworm main\n", "http://first.invalid/debian"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			etc := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(etc, "sources.list.d"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(etc, "sources.list.d", tt.file), []byte(tt.text), 0o644))
			conf := filepath.Join(etc, "apt.conf")
			require.NoError(t, os.WriteFile(conf, []byte("Dir::Etc::sourcelist \""+etc+"/sources.list\";\nDir::Etc::sourceparts \""+etc+"/sources.list.d\";\nDir::State::lists \""+etc+"/lists\";\n"), 0o644))
			t.Setenv("APT_CONFIG", conf)
			got, err := Mirror(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}
