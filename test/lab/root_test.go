package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/need"
)

// What the tests run in a root is there after the first stage, and works.
func TestRoot(t *testing.T) {
	for _, port := range []string{"arm64", "armhf"} {
		t.Run(port, func(t *testing.T) {
			abi, err := arch.Parse(port)
			require.NoError(t, err)
			emulator := need.Emulator(t, abi.QEMU)
			root := Unpack(t, port)

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

// fakeDebootstrap counts its calls, writes a root, and stops half-way while a file named stop is there.
const fakeDebootstrap = `#!/bin/sh
echo "I: Retrieving $*"
echo call >>"$FAKE/calls"
for root; do case $root in /*/root) break ;; esac; done
mkdir -p "$root/bin"
ln -s /proc "$root/proc"
echo half >"$root/bin/half"
[ ! -e "$FAKE/stop" ] || exit 1
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

// Two that ask at once get the same root, made once.
func TestMakeRootOnce(t *testing.T) {
	calls, _ := fakeCache(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			_, err := MakeRoot(context.Background(), "arm64", os.Stderr)
			assert.NoError(t, err)
		})
	}
	wait.Wait()
	assert.Equal(t, 1, calls())
}

// What a failed attempt left is not taken for a root.
func TestMakeRootAfterFailure(t *testing.T) {
	calls, fake := fakeCache(t)
	stop := filepath.Join(fake, "stop")
	require.NoError(t, os.WriteFile(stop, nil, 0o644))
	path, err := MakeRoot(context.Background(), "arm64", os.Stderr)
	require.ErrorContains(t, err, "I: Retrieving --foreign --arch=arm64", path)
	require.NoError(t, os.Remove(stop))
	// As a killed process leaves it.
	path, err = rootPath("arm64")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(path+".partial/root/bin", 0o755))
	require.NoError(t, os.WriteFile(path+".partial/root/bin/half", nil, 0o644))

	path, err = MakeRoot(context.Background(), "arm64", os.Stderr)
	require.NoError(t, err)
	assert.Equal(t, 2, calls())
	listing, err := output(exec.Command("tar", "-tf", path))
	require.NoError(t, err)
	assert.Equal(t, "./\n./bin/\n./bin/whole\n./proc/\n", listing)
	_, err = os.Stat(path + ".partial")
	assert.ErrorIs(t, err, os.ErrNotExist)
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
