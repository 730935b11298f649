package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
