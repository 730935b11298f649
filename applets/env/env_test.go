package env

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/config"
	"binproxy/shim/farm"
	"binproxy/test/lib/need"
)

func TestPath(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"/farm/usr/bin", "/farm/bin", "/second/usr/bin"} {
		require.NoError(t, os.MkdirAll(dir+d, 0o755))
	}
	bundle := farm.Call{Config: config.Config{Dir: dir}, Root: farm.Root{Self: dir + "/binproxy", Farms: []string{dir + "/farm", dir + "/second"}}}
	home := farm.Call{Config: config.Config{Dir: dir, OnlyContainer: true}}
	tests := []struct {
		name       string
		call       farm.Call
		path, want string
	}{
		{"the farm's counterpart of each directory in front of it", bundle, "/sbin:/bin:/usr/bin", "/sbin:D/farm/bin:/bin:D/farm/usr/bin:D/second/usr/bin:/usr/bin"},
		{"no counterpart", bundle, "/sbin:/opt/bin", "/sbin:/opt/bin"},
		{"again", bundle, "D/farm/bin:/bin", "D/farm/bin:/bin"},
		{"not first any more", bundle, "/opt:D/farm/bin:/bin", "/opt:D/farm/bin:/bin"},
		{"farm only", bundle, "D/farm/bin", ""},
		{"empty entries, which mean the working directory, stay", bundle, ":/bin::", ":D/farm/bin:/bin::"},
		{"an empty PATH", bundle, "", ""},
		{"a home directory", home, "/usr/bin:/bin", "D:/usr/bin:/bin"},
		{"a home directory again", home, "D:/usr/bin:/bin", "D:/usr/bin:/bin"},
		{"a home directory, later", home, "/usr/bin:D:/bin", "D:/usr/bin:/bin"},
		{"a home directory alone", home, "D", "D"},
		{"a home directory without PATH", home, "", ""},
		{"a neighbour of like name", home, "Dx:/bin", "D:Dx:/bin"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Path(test.call, strings.ReplaceAll(test.path, "D", dir))
			require.NoError(t, err)
			require.Equal(t, strings.ReplaceAll(test.want, "D", dir), got)
			again, err := Path(test.call, got)
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
	_, err := Path(farm.Call{Config: config.Config{Dir: "/a:b", OnlyContainer: true}}, "/bin")
	require.ErrorContains(t, err, "colon")
}

// TestShells makes every shell read the line for a PATH with everything that could mislead a
// shell.
func TestShells(t *testing.T) {
	nasty := `/a b/'q'/"d"/$HOME/` + "`id`" + `/\n/*?[x]/~/!!/#/;&|<>(){}/é:/bin:/usr/bin:` + "/tab\tend"
	tests := []struct {
		program, pkg, shell, eval string
		newline                   bool
	}{
		{"dash", "dash", "sh", `eval "$(cat "$LINE")"; printenv PATH`, true},
		{"bash", "bash", "sh", `eval "$(cat "$LINE")"; printenv PATH`, true},
		{"mksh", "mksh", "sh", `eval "$(cat "$LINE")"; printenv PATH`, true},
		{"zsh", "zsh", "sh", `eval "$(cat "$LINE")"; printenv PATH`, true},
		{"busybox", "busybox", "sh", `eval "$(cat "$LINE")"; printenv PATH`, true},
		{"fish", "fish", "fish", `cat $LINE | source; printenv PATH`, true},
		{"tcsh", "tcsh", "csh", "eval \"`cat $LINE`\"; printenv PATH", false},
	}
	for _, test := range tests {
		t.Run(test.program, func(t *testing.T) {
			program := need.Program(t, test.program, test.pkg)
			path := nasty
			if test.newline {
				path += "/new\nline\n"
			}
			line, err := setter(test.shell, path)
			require.NoError(t, err)
			dir := t.TempDir()
			file := filepath.Join(dir, "line")
			require.NoError(t, os.WriteFile(file, []byte(line+"\n"), 0o644))
			args := []string{"-c", test.eval}
			if test.program == "busybox" {
				args = append([]string{"sh"}, args...)
			}
			cmd := exec.Command(program, args...)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=/usr/bin:/bin", "LINE=" + file, "HOME=" + dir, "LC_ALL=C.UTF-8"}
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Equal(t, path+"\n", string(out))
		})
	}
	_, err := setter("csh", "/a\nb")
	require.ErrorContains(t, err, "newline")
	_, err = setter("cmd", "")
	require.ErrorContains(t, err, `unknown shell "cmd"`)
}
