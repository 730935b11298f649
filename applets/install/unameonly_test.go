package install

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// TestUnameOnlyScripts runs the scripts as the user who runs the tests. Their command uname-only
// DIR [RELEASE] is `binproxy install --uname-only --farm DIR --release RELEASE` on the real
// program.
func TestUnameOnlyScripts(t *testing.T) {
	program := built.Binproxy(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/unameonly",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"uname-only": func(ts *testscript.TestScript, neg bool, args []string) {
				err := unameOnly(program, ts.MkAbs(args[0]), strings.Join(args[1:], " "))
				if (err != nil) != neg {
					ts.Fatalf("uname-only %v: %v", args, err)
				}
				if err != nil {
					ts.Check(os.WriteFile(ts.MkAbs("error"), []byte(err.Error()+"\n"), 0o644))
				}
			},
		},
		Condition: func(cond string) (bool, error) {
			if cond == "container" {
				return identity.InContainer("/", func(string) string { return "" }), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// TestSharedHome moves a home directory with its own uname between roots: containers, and a host.
func TestSharedHome(t *testing.T) {
	kernel, err := identity.Kernel()
	require.NoError(t, err)
	tests := []struct {
		name, file, env string
		inside          bool
	}{
		{"host", "/etc/hostname", "HOME=/home/x", false},
		{"host, with a release in the environment", "/etc/hostname", "BINPROXY_RELEASE=5.4.0", false},
		{"docker", "/.dockerenv", "HOME=/home/x", true},
		{"podman", "/run/.containerenv", "HOME=/home/x", true},
		{"singularity", "/etc/hostname", "SINGULARITY_NAME=image.sif", true},
		{"apptainer", "/etc/hostname", "APPTAINER_NAME=image.sif", true},
		{"any other", "/etc/hostname", "container=lxc", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, release := range []string{"4.15.0-112-generic", ""} {
				root := t.TempDir()
				require.NoError(t, os.Chmod(root, 0o755))
				require.NoError(t, os.MkdirAll(root+filepath.Dir(test.file), 0o755))
				require.NoError(t, os.WriteFile(root+test.file, nil, 0o644))
				home := root + "/home/x/.local/fakeuname"
				require.NoError(t, unameOnly(built.Binproxy(t), home, release))

				want, line := kernel.Release+" "+kernel.Version+"\n", ""
				if test.inside {
					line = "PATH='/home/x/.local/fakeuname:/usr/bin:/bin'; export PATH\n"
				}
				if test.inside && release != "" {
					want = release + " " + identity.FollowingVersion + "\n"
				}
				require.Equal(t, want, inRoot(t, root, test.env, "/home/x/.local/fakeuname/uname", "-rv"))
				require.Equal(t, line, inRoot(t, root, test.env, "/home/x/.local/fakeuname/binproxy", "env"))
			}
		})
	}
}

// inRoot runs a program in a root directory of its own, as an ordinary user.
func inRoot(t *testing.T, root, env string, argv ...string) string {
	t.Helper()
	cmd := &exec.Cmd{Path: argv[0], Args: argv, Dir: "/", Env: []string{"PATH=/usr/bin:/bin", env}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	} else {
		probe := exec.Command("/bin/true")
		probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		need.Given(t, probe.Run() == nil, "root, or user namespaces for ordinary users")
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// TestDefaults makes the directory in $HOME, with the running program: here the test's own.
func TestDefaults(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	require.NoError(t, UnameOnly("", ""))
	dir := filepath.Join(home, ".local", "fakeuname")
	cfg, err := config.Load(dir)
	require.NoError(t, err)
	kernel, err := identity.Kernel()
	require.NoError(t, err)
	require.Equal(t, config.Config{Dir: dir, Identity: kernel.Recorded(), OnlyContainer: true}, cfg)
	self, err := os.Executable()
	require.NoError(t, err)
	want, err := os.ReadFile(self)
	require.NoError(t, err)
	got, err := os.ReadFile(cfg.Self())
	require.NoError(t, err)
	require.True(t, string(want) == string(got), "binproxy is a copy of the running program")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)

	t.Setenv("HOME", "")
	var e *exit.Error
	require.True(t, errors.As(UnameOnly("", ""), &e))
	require.Equal(t, exit.Failed, e.Code)
}
