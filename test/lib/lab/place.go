package lab

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/test/lib/host"
	"binproxy/test/lib/need"
)

// A Place is where a builder runs: mount and PID namespaces of its own, so that it has its own
// /run, and that no mount and no process outlives it. It needs root.
type Place struct {
	Dir  string // a directory of the place's user, removed with the test
	User bool   // an ordinary user, with subordinate ids, runs there; otherwise root

	line string // of a binfmt_misc entry, "" for none
}

const placePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

//go:embed place.sh
var placeScript string

// Start is how a builder is started in a place.
type Start struct {
	Before  []string // words before its own command
	Path    string   // a directory that comes first in its PATH
	Runtime string   // the path of the OCI runtime for it; "" for its own choice
	Address string   // where buildkitd listens; "" for a socket in the place
}

// Command is the builder's command, started so.
func (s Start) Command(ctx context.Context, p *Place, command ...string) *exec.Cmd {
	cmd := p.Command(ctx, slices.Concat(s.Before, command)...)
	if s.Path != "" {
		cmd.Env = append(cmd.Env, "PATH="+s.Path+":"+placePath)
	}
	return cmd
}

// NewPlace makes a place that has only the machine's binfmt_misc entries.
func NewPlace(t testing.TB, user bool) *Place {
	t.Helper()
	need.Root(t)
	leaveNoGroups(t)
	p := &Place{User: user}
	if user {
		need.Program(t, "newuidmap", "uidmap")
		p.Dir = host.Home(t)
	} else {
		p.Dir = privateDir(t)
	}
	for _, name := range []string{"lib", "etc", "scratch"} {
		require.NoError(t, os.Mkdir(filepath.Join(p.Dir, name), 0o755))
	}
	require.NoError(t, os.WriteFile(p.script(), []byte(placeScript), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "subid"), fmt.Appendf(nil, "%s:%d:65536\n", host.User, host.FirstSubordinate), 0o644))
	return p
}

func (p *Place) script() string { return filepath.Join(p.Dir, "place.sh") }

// Reference makes a place whose kernel runs the programs of the architecture (Debian's name) by
// the emulator: it has a user namespace with its own binfmt_misc (Linux 6.7 and later). Root is
// root in it, over all ids but the last: builders take a namespace with every id for the machine
// itself, and then want to make device nodes.
func Reference(t testing.TB, user bool, port string) *Place {
	t.Helper()
	p := NewPlace(t, user)
	abi, err := arch.Parse(port)
	require.NoError(t, err)
	p.line, err = binfmt.ForABI(abi, need.Emulator(t, abi.QEMU), "PF").Line()
	require.NoError(t, err)
	out, err := p.Command(t.Context(), "true").CombinedOutput()
	need.Given(t, err == nil, fmt.Sprintf("a user namespace with a binfmt_misc of its own, Linux 6.7 or later (%v %s)", err, out))
	return p
}

// Registered reports whether the kernel there runs the guest's programs.
func (p *Place) Registered() bool { return p.line != "" }

// Command is a command in the place, with an environment without anything of the caller's.
func (p *Place) Command(ctx context.Context, command ...string) *exec.Cmd {
	id := 0
	if p.User {
		id = host.UserID
	}
	cmd := exec.CommandContext(ctx, "sh", append([]string{p.script(), p.Dir, p.line, strconv.Itoa(id)}, command...)...)
	cmd.Dir = p.Dir
	run := filepath.Join(p.Dir, "run")
	// Without a STORAGE_DRIVER, and without fuse-overlayfs, an ordinary user's podman and buildah
	// would copy all lower layers into each layer.
	cmd.Env = []string{"PATH=" + placePath, "HOME=" + p.Dir, "TMPDIR=" + run, "XDG_RUNTIME_DIR=" + run, "STORAGE_DRIVER=overlay"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if p.Registered() {
		most := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1<<32 - 2}}
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings, cmd.SysProcAttr.GidMappingsEnableSetgroups = most, most, true
	}
	return cmd
}

// leaveNoGroups removes the control groups that builders leave, by buildkitd's and podman's names
// for them. It leaves one with a process in it, which is somebody else's.
func leaveNoGroups(t testing.TB) {
	t.Helper()
	before := groups(t)
	t.Cleanup(func() {
		for _, top := range groups(t) {
			if !slices.Contains(before, top) {
				_ = exec.Command("find", top, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run()
			}
		}
	})
}

func groups(t testing.TB) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		for _, name := range []string{"buildkit", "libpod_parent"} {
			paths, err := filepath.Glob(filepath.Join(pattern, name))
			require.NoError(t, err)
			found = append(found, paths...)
		}
	}
	return found
}

// privateDir is a directory of root's with a short name, since it has sockets in it.
func privateDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "place-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Mkdir(filepath.Join(dir, "run"), 0o700))
	return dir
}
