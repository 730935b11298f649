package container

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/container"
	"binproxy/emu/entrypoint"
	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/host"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/snapshot"
)

// smallRoot is a root of busybox that belongs to the caller, whose name is not in its passwd.
func (w who) smallRoot() string {
	dir := w.dir() + "/root"
	for _, sub := range []string{"bin", "etc", "tmp", "usr/bin"} {
		require.NoError(w.t, os.MkdirAll(dir+"/"+sub, 0o755))
	}
	text, err := os.ReadFile(busybox(w.t, "arm64"))
	require.NoError(w.t, err)
	require.NoError(w.t, os.WriteFile(dir+"/bin/busybox", text, 0o755))
	for _, name := range []string{"sh", "uname", "id", "cat", "sleep", "stat", "rm", "mv", "echo", "ls", "sed"} {
		require.NoError(w.t, os.Symlink("busybox", dir+"/bin/"+name))
	}
	passwd := "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:" + w.home + ":/bin/sh\ngames:x:5:60:games:/usr/games:/bin/sh\n"
	require.NoError(w.t, os.WriteFile(dir+"/etc/passwd", []byte(passwd), 0o644))
	require.NoError(w.t, os.WriteFile(dir+"/etc/group", []byte("root:x:0:\naudio:x:29:games\n"), 0o644))
	if w.home != "" {
		out, err := exec.Command("chown", "-hR", fmt.Sprintf("%d:%d", host.UserID, host.UserID), dir).CombinedOutput()
		require.NoError(w.t, err, "%s", out)
	}
	return dir
}

// A container is for living in: as oneself, in one's own directory, with the login shell of that
// root, and with further directories bound.
func TestEnter(t *testing.T) {
	both(t, func(t *testing.T, w who) {
		dir := w.smallRoot()
		shared := w.dir()
		require.NoError(t, os.WriteFile(shared+"/file", []byte("shared\n"), 0o644))
		before := host.Mounts(t)
		created := run(w.program("sh", "-c", `umask 077; exec "$@"`, "sh", binproxy(t), "container", "create", "--arch", "linux/arm64", "--location", dir, "--name", "arm",
			"--bind", shared+":/mnt/shared"))
		require.Zero(t, created.status, created)
		made, err := os.Stat(dir + "/mnt")
		require.NoError(t, err)
		assert.Equal(t, os.ModeDir|0o755, made.Mode(), "for everybody in the root, whatever the creator's umask")
		inside := func(args ...string) string { return w.does(append([]string{"container", "enter", "arm"}, args...)...) }
		assert.Equal(t, "aarch64\n", inside("--", "uname", "-m"))
		assert.Equal(t, "shared\n", inside("--", "cat", "/mnt/shared/file"))
		where, uid := "/", "0"
		if w.home != "" {
			where, uid = w.home, "65534"
		}
		if w.home != "" { // /tmp/home-N is bound, since it is the caller's home
			assert.Equal(t, where+"\n", inside("--", "sh", "-c", "pwd"))
		}
		assert.Equal(t, uid+"\n", inside("--", "id", "-u"))
		groups := "29"
		if w.home == "" {
			groups = "60" // audio is the host's
		}
		assert.Equal(t, "5 60 "+groups+"\n", inside("--user", "games", "--", "sh", "-c", "echo $(id -u) $(id -g) $(id -G | sed s/60.//)"))
		assert.Equal(t, "0\n", inside("--user", "0", "--", "id", "-u"))

		shell := w.cmd("container", "enter", "arm")
		shell.Stdin = strings.NewReader("echo $0 $SHELL $HOME; exit 5\n")
		r := run(shell)
		home := "/"
		if w.home != "" {
			home = w.home
		}
		assert.Equal(t, "-sh /bin/sh "+home+"\n", r.out)
		assert.Equal(t, 5, r.status)
		assert.Equal(t, 127, run(w.cmd("container", "enter", "arm", "--", "no-such-command")).status)
		assert.Equal(t, 126, run(w.cmd("container", "enter", "arm", "--", "/etc/passwd")).status)
		assert.Equal(t, -15, run(w.cmd("container", "enter", "arm", "--", "sh", "-c", "kill $$")).status)
		w.refuses("no user mallory", "container", "enter", "arm", "--user", "mallory")
		w.refuses("container arm exists", "container", "create", "--arch", "arm64", "--location", dir, "--name", "arm")
		w.refuses("there is no container leg", "container", "enter", "leg")

		// Nothing inside can break the emulator, or change the host's entries.
		r = run(w.cmd("container", "enter", "--user", "root", "arm", "--", "sh", "-c", "echo -1 >/proc/sys/fs/binfmt_misc/qemu-aarch64; rm -rf /usr/bin; uname -m"))
		assert.Equal(t, "aarch64\n", r.out, r)
		assert.Contains(t, r.err, "Read-only file system")

		staysWhileInUse(t, w, "arm", "1 running")
		w.does("container", "remove", "arm")
		assert.Equal(t, "NAME  ARCH  ROUTE  LOCATION  STATE\n", w.does("container", "list"))
		assert.Equal(t, before, host.Mounts(t))
		assert.FileExists(t, dir+"/bin/busybox")
		assert.FileExists(t, shared+"/file")
	})
}

// staysWhileInUse shows that a container is not removed while something runs in it; the list shows
// the state.
func staysWhileInUse(t *testing.T, w who, name, state string) {
	t.Helper()
	listed := func(state string) {
		require.Eventually(t, func() bool { return strings.Contains(w.does("container", "list"), state) }, 20*time.Second, 20*time.Millisecond)
	}
	sleeper := w.cmd("container", "enter", name, "--", "sleep", "1000")
	require.NoError(t, sleeper.Start())
	listed(state)
	w.refuses("there still runs in it: ", "container", "remove", name)
	require.NoError(t, sleeper.Process.Signal(syscall.SIGTERM))
	assert.Error(t, sleeper.Wait())
	listed("idle")
}

// What an ordinary user does changes nothing outside DIR and XDG_RUNTIME_DIR, and leaves only the
// mount points there.
func TestUserChangesNothingElse(t *testing.T) {
	w := user(t)
	dir := w.smallRoot()
	all := func() map[string][]string {
		entries, err := os.ReadDir(binfmt.Dir)
		require.NoError(t, err)
		seen := map[string][]string{"mounts": host.Mounts(t), "entries": {fmt.Sprint(entries)}, "home": snapshot.Of(t, w.home, "/run"), "runtime": snapshot.Of(t, w.home+"/run")}
		for _, place := range []string{"/run", "/home", "/etc/binfmt.d", "/usr/lib/binfmt.d", "/var/lib/binfmts"} {
			if _, err := os.Stat(place); err == nil {
				seen[place] = snapshot.Of(t, place)
			}
		}
		return seen
	}
	// now everything exists that a first start of the program makes
	w.does("binfmt", "--userns", "--", "true")
	before := all()
	w.does("container", "create", "--arch", "arm64", "--location", dir, "--release", "4.15.0")
	assert.Equal(t, "aarch64\n", w.does("container", "enter", "aarch64", "--", "uname", "-m"))
	during := all()
	assert.NotEqual(t, before["runtime"], during["runtime"], "the record")
	w.does("container", "remove", "aarch64")
	after := all()
	for place, was := range before {
		if place != "runtime" {
			assert.Equal(t, was, during[place], place)
			assert.Equal(t, was, after[place], place)
		}
	}
	left, err := os.ReadDir(w.home + "/run")
	require.NoError(t, err)
	assert.Empty(t, left)
}

// An ordinary user's container can use the host's entry, too: before Linux 6.7 there is nothing
// else. So can a container of the host's own architecture.
func TestUserByHostsEntry(t *testing.T) {
	w := user(t)
	dir := w.smallRoot()
	w.refuses("the host has no entry with flag F", "container", "create", "--arch", "arm64", "--location", dir, "--route", "kernel")
	root(t).does("binfmt", "register", "arm64")
	defer root(t).does("binfmt", "unregister", "qemu-aarch64")
	before := host.Mounts(t)
	assert.Contains(t, w.does("container", "create", "--arch", "arm64", "--location", dir, "--route", "kernel"), "route kernel")
	assert.Equal(t, "aarch64\n65534\n", w.does("container", "enter", "aarch64", "--", "sh", "-c", "uname -m; id -u"))
	r := run(w.cmd("container", "enter", "aarch64", "--user", "root", "--", "sh", "-c", "id -u; ls /proc/sys/fs/binfmt_misc; echo x >/proc/sys/fs/binfmt_misc/register"))
	assert.Equal(t, "0\n", r.out, "the host's entries are not to be seen: %s", r)
	w.does("container", "remove", "aarch64")
	assert.Equal(t, before, host.Mounts(t))

	// which /bin/sh leads to
	built.Guest(t, runtime.GOARCH, "./testdata/whoami", dir+"/bin/busybox")
	native := arch.Host().Name
	assert.Contains(t, w.does("container", "create", "--arch", native, "--location", dir), "route native")
	assert.Regexp(t, "^0 ", w.does("container", "enter", native, "--user", "root", "--", "/bin/sh"))
	w.does("container", "remove", native)
}

// Without subordinate ids an ordinary user is alone inside.
func TestWithoutSubordinateIDs(t *testing.T) {
	w := user(t)
	dir := w.smallRoot()
	before := host.Mounts(t)
	alone := func(args ...string) result {
		cmd := w.cmd(args...)
		cmd.SysProcAttr.Credential.Uid, cmd.SysProcAttr.Credential.Gid = 54321, 54321
		cmd.Env = append(cmd.Env, "USER=54321")
		return run(cmd)
	}
	for _, path := range []string{dir, w.home, w.home + "/run"} {
		require.NoError(t, exec.Command("chown", "-hR", "54321:54321", path).Run())
	}
	for _, route := range []string{"userns", "supervise"} {
		r := alone("container", "create", "--arch", "arm64", "--location", dir, "--route", route)
		require.Zero(t, r.status, r)
		assert.Equal(t, "54321\naarch64\n", alone("container", "enter", "aarch64", "--", "sh", "-c", "id -u; uname -m").out)
		r = alone("container", "enter", "aarch64", "--user", "root")
		assert.Equal(t, 125, r.status)
		assert.Contains(t, r.err, "only user 54321 exists in this container")
		assert.Contains(t, r.err, "usermod --add-subuids")
		r = alone("container", "remove", "aarch64")
		require.Zero(t, r.status, r)
		assert.Equal(t, before, host.Mounts(t))
	}
	r := alone("bootstrap", "--arch", "arm64", "--from", "tar:/etc/passwd", w.home+"/root")
	assert.Contains(t, r.err, "has no subordinate ids")
	cmd := w.cmd("container", "list")
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR=")
	assert.Contains(t, run(cmd).err, "XDG_RUNTIME_DIR is not set")
}

// A create that is killed at any moment does not keep the next one from working.
func TestKilledCreate(t *testing.T) {
	both(t, func(t *testing.T, w who) {
		dir := w.smallRoot()
		before := host.Mounts(t)
		for n := range 12 {
			cmd := w.cmd("container", "create", "--arch", "arm64", "--location", dir, "--name", "k")
			require.NoError(t, cmd.Start())
			time.Sleep(time.Duration(n) * 3 * time.Millisecond)
			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait()
			if run(w.cmd("container", "enter", "k", "--", "uname")).status != 0 {
				w.does("container", "create", "--arch", "arm64", "--location", dir, "--name", "k")
			}
			w.does("container", "remove", "k")
		}
		require.Eventually(t, func() bool { return !mentioned(t, string(entrypoint.Make)) }, 10*time.Second, 10*time.Millisecond, "a child goes on")
		assert.Equal(t, before, host.Mounts(t))
	})
}

// bootstrapped is a Debian root of arm64 that `binproxy bootstrap` made by debootstrap, a new copy
// for the test. It is made once, and kept in the cache.
func bootstrapped(t *testing.T, w who) string {
	t.Helper()
	made := debianRoot{from: "debootstrap", arch: "arm64", whole: true}
	kept := fixture.Fixture{
		Name: "roots/bootstrapped-" + suite + "-arm64", Ext: ".tar", What: "a whole Debian root", From: append([]string{suite, fmt.Sprint(made)}, minbase...),
		Make: func(ctx context.Context, _, archive string, held *os.File) error {
			maker := root(t)
			dir := maker.dir()
			made.make(t, maker, dir)
			cmd := exec.CommandContext(ctx, "tar", "--numeric-owner", "-C", dir+"/root", "-cf", archive, ".")
			cmd.ExtraFiles = []*os.File{held}
			return cmd.Run()
		},
	}
	dir := w.dir() + "/root"
	archive, err := os.Open(kept.For(t))
	require.NoError(t, err)
	defer archive.Close()
	require.NoError(t, os.Mkdir(dir, 0o755))
	if w.home != "" {
		require.NoError(t, os.Chown(dir, host.UserID, host.UserID))
	}
	unpack := w.cmd("binfmt", "--userns", "--root", "--", "tar", "--numeric-owner", "-C", dir, "-xpf", "-")
	unpack.Stdin = archive
	r := run(unpack)
	require.Zero(t, r.status, r)
	return dir
}

// The post's walk, with our commands: a root by debootstrap; a container with it, by the host's
// entry or an ordinary user's own; a program built inside; a package that brings the emulator's
// own path.
func TestWalk(t *testing.T) {
	need.Long(t)
	need.Program(t, "debootstrap", "debootstrap")
	t.Run("root", func(t *testing.T) {
		w := root(t)
		before := host.Mounts(t)
		w.does("binfmt", "register", "arm64")
		defer func() {
			w.does("binfmt", "unregister", "qemu-aarch64")
			assert.Equal(t, before, host.Mounts(t))
		}()
		walk(t, w, "kernel", "nsenter --mount="+container.RootStore+"/arm")
		assert.Contains(t, w.does("binfmt", "status"), "aarch64: runs\n  entry qemu-aarch64(PF): "+need.Emulator(t, "aarch64"), "the host's entry is as it was")
	})
	t.Run("user", func(t *testing.T) {
		walk(t, user(t), "userns", `nsenter --user --mount --target $(sed -n 's/.*"PID": \([0-9]*\).*/\1/p' $XDG_RUNTIME_DIR/binproxy/containers/.arm.json)`)
	})
}

func walk(t *testing.T, w who, route, nsenter string) {
	at := bootstrapped(t, w)
	out := w.does("container", "create", "--arch", "arm64", "--location", at, "--name", "arm")
	assert.Contains(t, out, "route "+route)
	defer func() { w.does("container", "remove", "arm") }()
	r := run(w.program("sh", "-c", nsenter+" --wd=/ /bin/uname -m"))
	assert.Equal(t, "aarch64\n", r.out, r)
	inside := func(script string) string {
		return w.does("container", "enter", "--user", "root", "arm", "--", "sh", "-ec", script)
	}
	assert.Equal(t, "arm64\n", inside("dpkg --print-architecture"))

	for _, pkg := range []string{"tcc", "libc6-dev", "linux-libc-dev"} {
		require.NoError(t, exec.Command("cp", debs.File(t, lab.Suite, "arm64", pkg), at+"/tmp/"+pkg+".deb").Run())
	}
	inside("dpkg --force-depends -i /tmp/*.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }")
	require.NoError(t, os.WriteFile(at+"/tmp/hello.c", []byte("#include <stdio.h>\nint main(void) { puts(\"built inside\"); return 0; }\n"), 0o644))
	assert.Equal(t, "built inside\n", inside("tcc -o /tmp/hello /tmp/hello.c; /tmp/hello"))

	// The post's case: Debian's package has an emulator at that very path, and scripts that would
	// register it.
	own, err := os.ReadFile(need.Emulator(t, "aarch64"))
	require.NoError(t, err)
	require.NoError(t, exec.Command("cp", qemuUserStatic(t), at+"/tmp/qemu.deb").Run())
	inside("dpkg -i /tmp/qemu.deb; dpkg-query -W -f '${db:Status-Status}' qemu-user-static | grep -qx installed; test -x /usr/bin/qemu-aarch64-static")
	theirs, err := os.ReadFile(at + "/usr/bin/qemu-aarch64-static")
	require.NoError(t, err)
	assert.NotEqual(t, own, theirs, "an emulator for another host")
	assert.Equal(t, "built inside\n", inside("/tmp/hello"))
	assert.Equal(t, "built inside\n", inside("tcc -o /tmp/again /tmp/hello.c; /tmp/again"))
	assert.Equal(t, "built inside\n", inside("rm /usr/bin/qemu-aarch64-static; /tmp/hello"))
	assert.Equal(t, "built inside\n", inside("dpkg --purge qemu-user-static >/dev/null; /tmp/hello"))
}

// qemuUserStatic is Debian's package of arm64 with its original scripts, but with only the one
// emulator that an arm64 container needs.
func qemuUserStatic(t *testing.T) string {
	deb := filepath.Join(t.TempDir(), "qemu.deb")
	script := `set -e
dpkg-deb -R "$FROM" "$TO.d"
find "$TO.d/usr/bin" -name 'qemu-*' ! -name qemu-aarch64-static -delete
rm -rf "$TO.d/usr/share/man" "$TO.d/usr/share/doc" "$TO.d/DEBIAN/md5sums"
dpkg-deb -Znone --build "$TO.d" "$TO"
rm -rf "$TO.d"
`
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "FROM="+debs.File(t, lab.Suite, "arm64", "qemu-user-static"), "TO="+deb)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return deb
}
