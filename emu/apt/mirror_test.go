package apt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// apt itself reads its configuration, in both of its forms.
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
			t.Setenv("BINPROXY_MIRROR", "")
			got, err := Mirror(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
			t.Setenv("BINPROXY_MIRROR", "http://named.invalid/debian")
			got, err = Mirror(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "http://named.invalid/debian", got)
		})
	}
}

func TestMirrorSites(t *testing.T) {
	list := filepath.Join(t.TempDir(), "mirrors")
	require.NoError(t, os.WriteFile(list, []byte("# first\nhttp://mirror.invalid/debian-security\nhttp://mirror.invalid/debian\n"), 0o644))
	for lines, want := range map[string]string{
		"http://mirror.invalid/debian bookworm\nhttp://mirror.invalid/other x\n": "http://mirror.invalid/debian",
		"http://mirror.invalid/debian bookworm-security\n":                       "",
		"http://mirror.invalid/ubuntu noble\n":                                   "",
		mirrorList + list + " bookworm\n":                                        "http://mirror.invalid/debian",
	} {
		site, _, _ := strings.Cut(debianSites(lines), "\n")
		got, err := direct(site)
		require.NoError(t, err)
		assert.Equal(t, want, got, lines)
	}
}
