// Package container tests architecture emulation containers with the whole program: binfmt_misc
// entries, bootstrapped roots, containers to live in. All of it happens in a host of its own
// (test/lib/host); the machine does not change.
package container

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/ended"
	"binproxy/test/lib/host"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

func TestMain(m *testing.M) { host.Main(m) }

// result is how a command ended.
type result struct {
	out, err string
	status   int
}

func (r result) String() string {
	return fmt.Sprintf("status %d\n--- stdout\n%s--- stderr\n%s", r.status, r.out, r.err)
}

// who runs binproxy: root, or the ordinary user with a home.
type who struct {
	t    testing.TB
	home string // "" for root
}

func root(t testing.TB) who {
	host.Need(t)
	need.Emulator(t, "aarch64")
	return who{t: t}
}

func user(t testing.TB) who {
	host.Need(t)
	need.Emulator(t, "aarch64")
	need.Program(t, "newuidmap", "uidmap")
	return who{t: t, home: host.Home(t)}
}

// cmd is binproxy with arguments.
func (w who) cmd(args ...string) *exec.Cmd {
	return w.program(binproxy(w.t), args...)
}

// binproxy is the program in a place where everybody can execute it: the cache is in root's home.
func binproxy(t testing.TB) string {
	const path = "/run/binproxy-under-test"
	if _, err := os.Stat(path); err != nil {
		text, err := os.ReadFile(built.Binproxy(t))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, text, 0o755))
	}
	return path
}

func (w who) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(host.Env(), "HOME=/root", "USER=root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"+os.Getenv("PATH"))
	cmd.Dir = "/"
	if w.home != "" {
		host.As(cmd, w.home)
	}
	return cmd
}

// dir is a fresh directory of the user, on a file system with room. It is removed at the end,
// whoever then owns its contents.
func (w who) dir() string {
	dir, err := os.MkdirTemp("", "container-")
	require.NoError(w.t, err)
	if w.home != "" {
		require.NoError(w.t, os.Chown(dir, host.UserID, host.UserID))
	}
	require.NoError(w.t, os.Chmod(dir, 0o755))
	w.t.Cleanup(func() { require.NoError(w.t, os.RemoveAll(dir)) })
	return dir
}

func run(cmd *exec.Cmd) result {
	var r result
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	r.out, r.err, r.status = out.String(), stderr.String(), ended.Status(cmd.ProcessState)
	if err != nil && cmd.ProcessState == nil {
		r.err, r.status = err.Error(), -1
	}
	return r
}

// does runs binproxy, which has to succeed, and gives its standard output.
func (w who) does(args ...string) string {
	w.t.Helper()
	r := run(w.cmd(args...))
	require.Zero(w.t, r.status, "binproxy %s: %s", strings.Join(args, " "), r)
	return r.out
}

// refuses runs binproxy, which has to fail with 125 and this message.
func (w who) refuses(says string, args ...string) {
	w.t.Helper()
	r := run(w.cmd(args...))
	require.Equal(w.t, 125, r.status, "binproxy %s: %s", strings.Join(args, " "), r)
	require.Contains(w.t, r.err, says)
}

// busybox is the path of a static busybox of the architecture.
func busybox(t testing.TB, arch string) string {
	t.Helper()
	return debs.UnpackedFor(t, lab.Suite, arch, "busybox-static") + "/bin/busybox"
}
