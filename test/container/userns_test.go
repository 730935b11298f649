package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/test/lib/need"
)

// inNamespace is the command in a user namespace with one id, its root.
func (w who) inNamespace(args ...string) result {
	unshare := need.Program(w.t, "unshare", "util-linux")
	return run(w.program(unshare, append([]string{"-Urm", binproxy(w.t)}, args...)...))
}

// The route userns, for a caller who may be root of a user namespace without other ids.
func TestRouteUserns(t *testing.T) {
	for name, w := range map[string]who{"root": root(t), "user": user(t)} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			program := filepath.Join(w.dir(), "tiny")
			require.NoError(t, os.WriteFile(program, tiny.Program(arch.Get("s390x")), 0o755))
			route := []string{"run", "--route", "userns", "--"}
			r := run(w.cmd(append(route, program)...))
			assert.Equal(t, tiny.Status, r.status, r)
			r = w.inNamespace(append(route, program)...)
			assert.Equal(t, tiny.Status, r.status, r)
			r = w.inNamespace(append(route, "id", "-u")...)
			assert.Equal(t, "0\n", r.out, r)
			r = w.inNamespace(append(route, "/no-such-command")...)
			assert.Equal(t, 127, r.status, r)
		})
	}
}

// A command gets and inherits arguments of any bytes, the caller's ids, descriptors, ignored
// signals and closed descriptors.
func TestRouteUsernsInherits(t *testing.T) {
	for name, w := range map[string]who{"root": root(t), "user": user(t)} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			const look = `printf '%s|' "$@"; id -u; id -g; grep SigIgn /proc/self/status; readlink /proc/self/fd/3; ls /proc/self/fd; test -e /proc/self/fd/0 || echo no stdin`
			ways := map[string]string{}
			for way, prefix := range map[string]string{
				"plain": "", "run": binproxy(t) + " run --route userns -- ", "binfmt": binproxy(t) + " binfmt --userns -- ",
			} {
				r := run(w.program("sh", "-c", `trap '' PIPE HUP USR1; exec 3</etc/passwd 0<&-; exec `+prefix+`sh -c "$@"`, "sh", look, "name", "", "\xff\n", ":userns"))
				require.Zero(t, r.status, r)
				ways[way] = r.out
			}
			assert.Contains(t, ways["plain"], "/etc/passwd\n")
			assert.Equal(t, ways["plain"], ways["run"])
			assert.Equal(t, ways["plain"], ways["binfmt"])
		})
	}
}

// In an ordinary user's root the user is root, alone, and has the host's /proc.
func TestRunRoot(t *testing.T) {
	w := user(t)
	dir := w.dir()
	for _, sub := range []string{"bin", "proc", "dev", "sys"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	text, err := os.ReadFile(busybox(t, "arm64"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/bin/busybox", text, 0o755))
	for _, c := range []struct{ route, uid, uids string }{
		{"supervise", "0", "0 65534 1"},
		{"userns", "65534", "65534 0 1"},
	} {
		args := []string{"run", "--route", c.route, "--root", dir, "--cwd", "bin", "--", "./busybox", "sh", "-c", "pwd; ./busybox uname -m; ./busybox id -u; ./busybox cat /proc/self/uid_map"}
		out := strings.Fields(w.does(args...))
		assert.Equal(t, "/bin aarch64 "+c.uid+" "+c.uids, strings.Join(out, " "), c.route)
		r := w.inNamespace(args...)
		assert.Equal(t, "/bin aarch64 0", strings.Join(strings.Fields(r.out)[:3], " "), r)
	}
}

// Root's root without the kernel's file systems has them for the run, as if they were mounted
// there by hand; what it has stays, links are not followed, and nothing is left.
func TestRunRootOfRoot(t *testing.T) {
	w := root(t)
	const look = `b=/bin/busybox; echo x >/dev/null; $b cat /proc/version; $b stat -c %t:%T /dev/null; $b ls -d /dev/pts/ptmx; $b ls /sys; $b grep "$0" /proc/$PPID/mountinfo | $b wc -l`
	bare := func(arch string) string {
		dir := w.dir()
		for _, sub := range []string{"bin", "proc", "dev", "sys"} {
			require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
		}
		require.NoError(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		require.NoError(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
		text, err := os.ReadFile(busybox(t, arch))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(dir+"/bin/busybox", text, 0o755))
		require.NoError(t, os.WriteFile(dir+"/dev/null", []byte("left by somebody"), 0o644))
		return dir
	}
	native, guest := bare("amd64"), bare("arm64")
	sh := func(dir, look string) []string { return []string{"/bin/busybox", "sh", "-c", look, dir + "/"} }
	byHand := run(w.program("unshare", append([]string{"-m", "sh", "-c", `
		for d in proc dev sys; do mount --rbind /$d "$0/$d" || exit; done
		exec unshare --fork chroot "$0" "$@"`, native}, sh("/nowhere", look)...)...))
	require.Zero(t, byHand.status, byHand)
	want := byHand.out

	for _, c := range []struct{ route, dir string }{{"kernel", native}, {"supervise", native}, {"supervise", guest}, {"userns", guest}} {
		got := w.does(append([]string{"run", "--route", c.route, "--root", c.dir, "--"}, sh(c.dir, look)...)...)
		assert.Equal(t, want, got, c)
		text, err := os.ReadFile(c.dir + "/dev/null")
		require.NoError(t, err)
		assert.Equal(t, "left by somebody", string(text), c)
	}
	require.NoError(t, unix.Mount("/dev/null", guest+"/dev/null", "", unix.MS_BIND, ""))
	require.NoError(t, os.Remove(guest+"/sys"))
	require.NoError(t, os.Symlink("/home", guest+"/sys"))
	got := w.does(append([]string{"run", "--root", guest, "--"}, sh(guest, `b=/bin/busybox; $b ls /dev; $b readlink /sys; $b ls -d /proc/self/fd`)...)...)
	assert.Equal(t, "null\n/home\n/proc/self/fd\n", got)
}

// Where newuidmap is refused since an ordinary user's supervisor is there, a line says which order
// works; and it does.
func TestNamespaceFirst(t *testing.T) {
	w := user(t)
	buildah, unshare := need.Program(t, "buildah", "buildah"), need.Program(t, "unshare", "util-linux")
	for _, command := range [][]string{
		{"sh", "-c", buildah + " unshare true; " + buildah + " unshare true"},
		{"env", unshare, "--map-root-user", "--map-auto", "true"},
	} {
		r := run(w.cmd(append([]string{"run", "--"}, command...)...))
		assert.Equal(t, 1, strings.Count(r.err, "make the user namespace first, as in `buildah unshare binproxy run -- COMMAND`"), r)
	}
	r := run(w.program(buildah, append([]string{"unshare", binproxy(t), "run", "--"}, "sh", "-c", "id -u; wc -l </proc/self/uid_map")...))
	assert.Equal(t, "0\n2\n", r.out, r)
	assert.Equal(t, "0\n", w.does("run", "--", buildah, "unshare", "id", "-u"))
}
