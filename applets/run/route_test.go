package run

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/exit"
	"binproxy/emu/route"
	"binproxy/emu/supervise"
	"binproxy/test/lib/need"
)

// TestCommandABI finds the command as its exec would: in another root, by that root's links.
func TestCommandABI(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "etc/alternatives", "opt"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	guest := arch.Get("s390x")
	require.NoError(t, os.WriteFile(filepath.Join(root, "usr/bin/tool.real"), tiny.Program(guest), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "opt/text"), []byte("text\n"), 0o755))
	for name, target := range map[string]string{
		"usr/bin/tool": "/etc/alternatives/tool", "etc/alternatives/tool": "/usr/bin/tool.real", "bin": "/usr/bin",
		"opt/climbs": "../../../../usr/bin/tool.real", "opt/outside": root + "/usr/bin/tool.real",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(root, name)))
	}
	path := []string{"PATH=/nowhere:/opt:/bin"}
	for _, c := range []struct {
		config supervise.Config
		want   *arch.ABI
	}{
		{supervise.Config{Root: root, Command: "/usr/bin/tool"}, guest},
		{supervise.Config{Root: root, Command: "tool", Env: path}, guest},
		{supervise.Config{Root: root, Command: "./tool", Dir: "/bin"}, guest},
		{supervise.Config{Root: root, Command: "/opt/climbs"}, guest},
		{supervise.Config{Root: root, Command: "/opt/outside"}, nil},
		{supervise.Config{Root: root, Command: "/opt/text"}, nil},
		{supervise.Config{Root: root, Command: "none", Env: path}, nil},
		{supervise.Config{Command: root + "/opt/outside"}, guest},
		{supervise.Config{Command: "./outside", Dir: root + "/opt"}, guest},
		// its link leads into the machine's own root
		{supervise.Config{Command: root + "/usr/bin/tool"}, nil},
	} {
		assert.Equal(t, c.want, commandABI(c.config), "%+v", c.config)
	}
}

// TestUnregistered: only for a guest's program that the kernel refused are entries the matter.
func TestUnregistered(t *testing.T) {
	guest := arch.Get("s390x")
	refused := exit.With(exit.CannotRun, unix.ENOEXEC)

	err := unregistered(refused, guest)
	assert.ErrorContains(t, err, "exec format error: --route kernel needs an entry of the host for s390x")
	assert.Equal(t, exit.CannotRun, exit.Code(err))

	assert.Equal(t, refused, unregistered(refused, nil))
	assert.Equal(t, refused, unregistered(refused, arch.Host()))
	assert.Equal(t, unix.EACCES, unregistered(unix.EACCES, guest))
}

// envRun makes the test's program be `run` with its arguments.
const envRun = "RUN_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(envRun) == "" {
		os.Exit(m.Run())
	}
	err := Applet.Start(os.Args[1:])
	fmt.Fprintln(os.Stderr, err)
	os.Exit(exit.Code(err))
}

// TestUnregisteredInRoot: the reason for the kernel's refusal is known even after the command's
// root has been entered, and through the links of that root.
func TestUnregisteredInRoot(t *testing.T) {
	need.Root(t)
	guest := arch.Get("m68k")
	need.Given(t, errors.Is(route.Prove(guest, ""), route.ErrUnknown), "a host without an entry for "+guest.Name)
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "real"), tiny.Program(guest), 0o755))
	require.NoError(t, os.Symlink("/real", filepath.Join(root, "tool")))
	cmd := exec.Command(os.Args[0], "--route", "kernel", "--root", root, "--", "/tool")
	cmd.Env = append(os.Environ(), envRun+"=1")
	said, err := cmd.CombinedOutput()
	require.Error(t, err, "%s", said)
	assert.Equal(t, exit.CannotRun, cmd.ProcessState.ExitCode(), "%s", said)
	assert.Contains(t, string(said), "--route kernel needs an entry of the host for m68k")
}
