package identity

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

func getenv(vars ...string) func(string) string {
	return func(name string) string {
		for _, v := range vars {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// TestPrecedence: the environment takes precedence over the file, for each field separately,
// except that release and version go together.
func TestPrecedence(t *testing.T) {
	file := Identity{Release: "4.15.0-112-generic", Version: "#113-Ubuntu SMP"}
	tests := []struct {
		name       string
		configured Identity
		env        []string
		want       Identity
	}{
		{"nothing set", Identity{}, nil, Identity{}},
		{"empty variables set nothing", file, []string{"BINPROXY_RELEASE=", "BINPROXY_VERSION="}, file},
		{"the file's alone", file, nil, file},
		{"a release of the file's brings a version", Identity{Release: "5.4.0"}, nil, Identity{Release: "5.4.0", Version: FollowingVersion}},
		{"so does one of the environment's", Identity{}, []string{"BINPROXY_RELEASE=5.4.0"}, Identity{Release: "5.4.0", Version: FollowingVersion}},
		{"another release drops the file's version", file, []string{"BINPROXY_RELEASE=5.4.0"}, Identity{Release: "5.4.0", Version: FollowingVersion}},
		{"the same release keeps it", file, []string{"BINPROXY_RELEASE=4.15.0-112-generic"}, file},
		{"a version without release in the file stays", Identity{Version: "#7"}, []string{"BINPROXY_RELEASE=5.4.0"}, Identity{Release: "5.4.0", Version: "#7"}},
		{"a version of the environment's", file, []string{"BINPROXY_VERSION=#7"}, Identity{Release: file.Release, Version: "#7"}},
		{"both of the environment's", file, []string{"BINPROXY_RELEASE=5.4.0", "BINPROXY_VERSION=#7"}, Identity{Release: "5.4.0", Version: "#7"}},
		{"a version alone brings no release", Identity{}, []string{"BINPROXY_VERSION=#7"}, Identity{Version: "#7"}},
		{"the other three", Identity{Nodename: "a", Machine: "b"}, []string{"BINPROXY_SYSNAME=S", "BINPROXY_NODENAME=n"},
			Identity{Sysname: "S", Nodename: "n", Machine: "b"}},
		{"the machine", Identity{Machine: "b"}, []string{"BINPROXY_MACHINE=armv7l"}, Identity{Machine: "armv7l"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, Configured(test.configured, getenv(test.env...)))
		})
	}
}

func TestKernel(t *testing.T) {
	i, err := Kernel()
	require.NoError(t, err)
	for n, option := range []string{"-s", "-n", "-r", "-v", "-m"} {
		out, err := exec.Command(need.Program(t, "uname", "coreutils"), option).Output()
		require.NoError(t, err)
		require.Equal(t, strings.TrimSuffix(string(out), "\n"), *Fields[n].Of(&i), option)
	}
	require.Equal(t, Identity{Release: i.Release, Version: i.Version}, i.Recorded())
	require.NoError(t, i.Check())
	require.False(t, i.IsZero())
	require.True(t, Identity{}.IsZero())
}

func TestCheck(t *testing.T) {
	longest := strings.Repeat("x", MaxField)
	tests := []struct {
		value, complaint string
	}{
		{longest, ""},
		{longest + "x", "has 65 bytes; uname(2) holds 64"},
		{"5.4.0\n", "control character"},
		{"5.4\x7f", "control character"},
		{"5.4.0 with spaces, ümläute", ""},
	}
	for _, test := range tests {
		for _, f := range Fields {
			var i Identity
			*f.Of(&i) = test.value
			if test.complaint == "" {
				require.NoError(t, i.Check())
				continue
			}
			require.ErrorContains(t, i.Check(), test.complaint)
			require.ErrorContains(t, i.Check(), f.Key+" ")
		}
	}
}

func TestInContainer(t *testing.T) {
	root := func(files ...string) string {
		dir := t.TempDir()
		for _, name := range files {
			require.NoError(t, os.MkdirAll(filepath.Dir(dir+name), 0o755))
			require.NoError(t, os.WriteFile(dir+name, nil, 0o644))
		}
		return dir
	}
	require.False(t, InContainer(root(), getenv()))
	require.False(t, InContainer(root("/etc/hostname"), getenv("container=", "SINGULARITY_NAME=", "HOME=/root")))
	require.True(t, InContainer(root("/.dockerenv"), getenv()))
	require.True(t, InContainer(root("/run/.containerenv"), getenv()))
	for _, name := range []string{"SINGULARITY_NAME", "APPTAINER_NAME", "container"} {
		require.True(t, InContainer(root(), getenv(name+"=x")), name)
	}
}

func TestInto(t *testing.T) {
	env := []string{"A=1", "BINPROXY_RELEASE=4.1", "BINPROXY_VERSION=#2"}
	for _, c := range []struct {
		identity Identity
		want     []string
	}{
		{Identity{}, env},
		{Identity{Release: "5.4"}, []string{"A=1", "BINPROXY_RELEASE=5.4"}},
		{Identity{Release: "5.4", Version: "#3"}, []string{"A=1", "BINPROXY_RELEASE=5.4", "BINPROXY_VERSION=#3"}},
		{Identity{Machine: "vax"}, append(slices.Clone(env), "BINPROXY_MACHINE=vax")},
	} {
		if got := c.identity.Into(env); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q", c.identity, got)
		}
	}
	if env[1] != "BINPROXY_RELEASE=4.1" {
		t.Error("the caller's environment was changed")
	}
}
