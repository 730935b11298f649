package container

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/binfmt"
	"binproxy/emu/container"
	"binproxy/test/lib/built"
	"binproxy/test/lib/host"
	"binproxy/test/lib/need"
)

// A container whose programs a supervisor routes: nothing is registered in any namespace, and the
// emulator is kept where no rm on the host can reach it.
func TestSupervisedContainer(t *testing.T) {
	both(t, func(t *testing.T, w who) {
		dir, own := w.smallRoot(), w.dir()
		emulator := own + "/qemu-aarch64"
		require.NoError(t, exec.Command("cp", need.Emulator(t, "aarch64"), emulator).Run())
		built.Guest(t, "arm64", "./testdata/whoami", dir+"/bin/who-am-i")
		require.NoError(t, os.Chmod(dir+"/bin/who-am-i", os.ModeSetuid|0o755))
		before := host.Mounts(t)
		entries, err := os.ReadDir(binfmt.Dir)
		require.NoError(t, err)
		assert.Contains(t, w.does("container", "create", "--arch", "arm64", "--location", dir, "--name", "arm", "--route", "supervise", "--emulator", emulator), "route supervise")
		require.NoError(t, os.Remove(emulator))

		inside := func(args ...string) string { return w.does(append([]string{"container", "enter", "arm"}, args...)...) }
		id, groups := "0\n", "60" // audio is the host's
		if w.home != "" {
			id, groups = "65534\n", "29"
		}
		assert.Equal(t, "aarch64\naarch64\n"+id, inside("--", "sh", "-c", "uname -m; sh -c 'exec uname -m'; id -u"))
		assert.Equal(t, "\xff \n", inside("--", "sh", "-c", `printf %s "$1"`, "sh", "\xff \n"), "an argument of any bytes")
		assert.Equal(t, "5 60 "+groups+"\n", inside("--user", "games", "--", "sh", "-c", "echo $(id -u) $(id -g) $(id -G | sed s/60.//)"))
		assert.Equal(t, "0\n", inside("--user", "root", "--", "id", "-u"))
		assert.Equal(t, "4.9.0 aarch64\n4.9.0\n", inside("--release", "4.9.0", "--", "sh", "-c", "uname -rm; cat /proc/sys/kernel/osrelease"))
		assert.Regexp(t, "^5 ", inside("--user", "games", "--", "who-am-i"), "a setuid program runs without its rights, as docs/containers.md says")
		r := run(w.cmd("container", "enter", "--user", "root", "arm", "--", "sh", "-c", "ls /proc/sys/fs/binfmt_misc; ls -l /proc/self/fd | sed -n '/qemu/p'"))
		assert.Empty(t, r.out, "neither the host's entries nor the emulator are to be seen: %s", r)
		shell := w.cmd("container", "enter", "arm")
		shell.Stdin = strings.NewReader("echo $0; exit 5\n")
		assert.Equal(t, 5, run(shell).status)
		assert.Equal(t, 127, run(w.cmd("container", "enter", "arm", "--", "no-such-command")).status)
		assert.Equal(t, 126, run(w.cmd("container", "enter", "arm", "--", "/etc/passwd")).status)
		assert.Equal(t, -15, run(w.cmd("container", "enter", "arm", "--", "sh", "-c", "kill $$")).status)
		if w.home == "" {
			r = run(w.program("nsenter", "--mount="+container.RootStore+"/arm", "--wd=/", "/bin/uname", "-m"))
			assert.NotZero(t, r.status, "no supervisor, as docs/containers.md says: %s", r)
		}

		staysWhileInUse(t, w, "arm", " running")
		w.does("container", "remove", "arm")

		w.does("container", "create", "--arch", "arm64", "--location", dir, "--route", "supervise", "--release", "4.15.0")
		assert.Equal(t, "4.15.0 aarch64\n4.15.0\n", w.does("container", "enter", "aarch64", "--", "sh", "-c", "uname -rm; cat /proc/sys/kernel/osrelease"))
		w.does("container", "remove", "aarch64")
		assert.Equal(t, before, host.Mounts(t))
		after, err := os.ReadDir(binfmt.Dir)
		require.NoError(t, err)
		assert.Equal(t, entries, after)
	})
}

// If the kernel takes no entry of the container's own (here because the emulator's name is too
// long), a supervisor takes its place, unless the user asked for another route, or the host has an
// entry.
func TestContainerWithoutBinfmt(t *testing.T) {
	both(t, func(t *testing.T, w who) {
		dir := w.smallRoot()
		long := filepath.Join(w.dir(), strings.Repeat("long/", 30))
		require.NoError(t, os.MkdirAll(long, 0o755))
		emulator := filepath.Join(long, "qemu")
		require.NoError(t, exec.Command("cp", need.Emulator(t, "aarch64"), emulator).Run())
		create := []string{"container", "create", "--arch", "arm64", "--location", dir, "--name", "arm", "--emulator", emulator}
		w.refuses("the kernel takes 127", append(create, "--route", "userns")...)
		r := run(w.cmd(create...))
		require.Zero(t, r.status, r)
		assert.Contains(t, r.err, "the kernel takes 127")
		assert.Contains(t, r.err, "a supervisor takes its place")
		assert.Contains(t, r.out, "route supervise")
		assert.Equal(t, "aarch64\n", w.does("container", "enter", "arm", "--", "uname", "-m"))
		w.does("container", "remove", "arm")
		if w.home != "" {
			root(t).does("binfmt", "register", "arm64")
			defer root(t).does("binfmt", "unregister", "qemu-aarch64")
			r := run(w.cmd(create...))
			assert.Contains(t, r.err, "the host's entry takes its place")
			assert.Contains(t, r.out, "route kernel")
			assert.Equal(t, "aarch64\n", w.does("container", "enter", "arm", "--", "uname", "-m"))
			w.does("container", "remove", "arm")
		}
	})
}
