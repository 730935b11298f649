package uml

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// snapshot lists a tree: mode, owner, time and content of everything in it.
func snapshot(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d:%d %d", path, fi.Mode(), st.Uid, st.Gid, fi.ModTime().UnixNano())
		if fi.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(text))
		}
		b.WriteString("\n")
		return nil
	}))
	return b.String()
}

// TestOverlay does in the guest what root may do, twice with one layer, and finds all of it the
// second time. The directory does not change.
func TestOverlay(t *testing.T) {
	each(t, func(t *testing.T, c *testCase) {
		root := filepath.Join(shared, "root")
		before := snapshot(t, root)
		keep := filepath.Join(c.dir, "keep")
		require.NoError(t, os.Mkdir(keep, 0o755))
		require.NoError(t, os.Chown(keep, c.uid, c.uid))
		c.sh(t, `set -e; echo changed >>/etc/motd; chown 5:6 /etc/motd; chmod 4711 /bin/busybox; mknod /null c 1 3; echo x >/null; rm -r /www; mkdir /www; echo new >/www/new
			ln /etc/motd /link; ln -s /nowhere /soft; mkfifo /fifo; rm /bin/vi; touch -d '2001-02-03 04:05:06' /old; mv /mnt /moved; mkdir /root/d; chmod 1777 /root/d`, "--upper", keep)
		assert.Equal(t, before, snapshot(t, root))
		tree := filepath.Join(keep, "layer/tree")
		text, err := os.ReadFile(filepath.Join(tree, "etc/motd"))
		require.NoError(t, err)
		assert.Equal(t, "hello\nchanged\n", string(text), "the layer is there to be looked at")
		fi, err := os.Stat(filepath.Join(tree, "bin/busybox"))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o711), fi.Mode(), "no set-user-ID bit on the host")
		said, err := os.ReadFile(filepath.Join(keep, "layer/attributes"))
		require.NoError(t, err)
		assert.Regexp(t, `(?m)^file 0644 5:6 "(etc/motd|link)"$`, string(said))
		assert.Regexp(t, `(?m)^gone 0000 0:0 "bin/vi"$`, string(said))
		assert.Regexp(t, `(?m)^char:1:3 06[0-9]* 0:0 "null"$`, string(said))
		require.NoError(t, os.WriteFile(filepath.Join(tree, "root/by hand"), []byte("edited\n"), 0o644))
		out := c.sh(t, `cat /etc/motd; stat -c '%u:%g %h' /etc/motd; stat -c %a /bin/busybox; stat -c '%F %t,%T' /null; ls /www; stat -c %i /link | grep -qx $(stat -c %i /etc/motd) && echo linked
			test -L /soft && echo soft; test -p /fifo && echo fifo; ls /bin/vi 2>/dev/null; stat -c %Y /old; ls -d /mnt 2>/dev/null; ls -d /moved; stat -c %a /root/d; cat "/root/by hand"; ls -A /root`, "--upper", keep)
		assert.Equal(t, []string{"hello", "changed", "5:6 2", "4711", "character special file 1,3", "new", "linked", "soft", "fifo", "981173106", "/moved", "1777", "edited", "by hand", "d"}, lines(out))
		assert.Equal(t, before, snapshot(t, root))
		names, err := os.ReadDir(keep)
		require.NoError(t, err)
		assert.Len(t, names, 1, "the layer, and nothing half-made")
		kept := snapshot(t, keep)
		cmd := c.command("--upper", keep, "--", "sh", "-c", "rm -r /etc /root; echo removed; sleep 60")
		told, err := cmd.StdoutPipe()
		require.NoError(t, err)
		p := start(t, cmd)
		_, err = io.ReadFull(told, make([]byte, len("removed\n")))
		require.NoError(t, err)
		require.NoError(t, p.Process.Kill())
		p.wait()
		assert.Equal(t, kept, snapshot(t, keep), "a run that is ended keeps the layer of the one before")
		out = c.sh(t, `cat /etc/motd; ls -d /www /bin/vi`, "--overlay")
		assert.Equal(t, []string{"hello", "/bin/vi", "/www"}, lines(out), "a layer that is not named is not there")
	})
}

// TestModes shows the difference between read-only and read-write.
func TestModes(t *testing.T) {
	c := one(t)
	root := filepath.Join(c.dir, "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	require.NoError(t, makeBusybox(root))
	require.NoError(t, os.Chown(root, c.uid, c.uid))
	made, err := os.ReadDir(root)
	require.NoError(t, err)
	before := snapshot(t, root)
	r := c.run(t, nil, "--root", root, "--ro", "--", "sh", "-c", "echo x >/file")
	assert.NotEqual(t, 0, r.status)
	assert.Contains(t, r.stderr, "Read-only file system")
	assert.Equal(t, before, snapshot(t, root))
	r = c.run(t, nil, "--root", root, "--rw", "--", "sh", "-c", "echo x >/file")
	assert.Equal(t, 0, r.status, r.stderr)
	names, err := os.ReadDir(root)
	require.NoError(t, err)
	require.Len(t, names, len(made)+1, "the file, and nothing of ours")
	text, err := os.ReadFile(filepath.Join(root, "file"))
	require.NoError(t, err)
	assert.Equal(t, "x\n", string(text))
}

func TestBind(t *testing.T) {
	each(t, func(t *testing.T, c *testCase) {
		src := filepath.Join(c.dir, "a dir")
		require.NoError(t, os.Mkdir(src, 0o755))
		require.NoError(t, os.WriteFile(src+"/in", []byte("in\n"), 0o644))
		require.NoError(t, os.Chown(src, c.uid, c.uid))
		out := c.sh(t, `cat /data/in /etc/one; echo out >/data/out; echo x 2>/dev/null >/fixed/out || echo refused; cat /fixed/in`,
			"--bind", src+":/data", "--bind", src+":/fixed:ro", "--bind", src+"/in:/etc/one:ro", "--ro")
		assert.Equal(t, []string{"in", "in", "refused", "in"}, lines(out))
		text, err := os.ReadFile(src + "/out")
		require.NoError(t, err)
		assert.Equal(t, "out\n", string(text))
	})
}

// TestEscape mounts by hostfs what the kernel's process can open, as a guest can do even if the
// kernel's own option hostfs= should bound it. The guest finds nothing of the host except what the
// run was given, and cannot write to that.
func TestEscape(t *testing.T) {
	eachUser(t, func(t *testing.T, c *testCase) {
		fixed := func() string {
			return snapshot(t, filepath.Join(shared, "root")) + snapshot(t, filepath.Dir(c.kernel)) + snapshot(t, filepath.Join(shared, "binproxy"))
		}
		before := fixed()
		out := c.sh(t, `
for path in /../../../ / /root/.. /root/../.. /boot/../../..; do
	mount -t hostfs none /mnt -o $path || continue
	cat /mnt`+shared+`/secret 2>/dev/null
	for f in /mnt/linux /mnt/boot/uml /mnt/root/etc/motd /mnt/lib*/*/libc.so.6 /mnt/lib*/ld-*; do
		test ! -e $f || ! (echo x >>$f) 2>/dev/null || echo written $f
	done
	ls /mnt
	umount /mnt
done
for path in /proc /root/proc /etc /root/..`+shared+` `+shared+`; do
	mount -t hostfs none /mnt -o $path 2>/dev/null && ls /mnt && umount /mnt
done
true`)
		allowed := map[string]bool{"boot": true, "dev": true, "lib": true, "lib64": true, "linux": true, "root": true, "tmp": true}
		for _, line := range lines(out) {
			assert.True(t, allowed[line], "the guest reached %q", line)
		}
		assert.Contains(t, out, "linux", "the mounts themselves work")
		assert.Equal(t, before, fixed())
	})
	t.Run("proc of the host", func(t *testing.T) {
		c := one(t)
		out := c.sh(t, `mount -t hostfs none /mnt -o /root/proc && ls /mnt; echo end`, "--root", "/")
		assert.Equal(t, "end\n", out)
	})
}

// TestKilled kills the host side at several moments of a run with every option; newCase looks for
// remains.
func TestKilled(t *testing.T) {
	t.Parallel()
	moments := []time.Duration{0, 5, 10, 20, 40, 80, 160, 320, 640, 1280}
	if testing.Short() {
		moments = []time.Duration{0, 20, 320, 1280}
	}
	for _, name := range names() {
		for _, after := range moments {
			t.Run(fmt.Sprintf("%s/%d", name, after), func(t *testing.T) {
				t.Parallel()
				c := newCase(t, name, users()[len(users())-1])
				p := start(t, c.command("--net", "--overlay", "--arch", "arm64", "--", "sleep", "60"))
				time.Sleep(after * time.Millisecond)
				require.NoError(t, p.Process.Kill())
				p.wait()
			})
		}
	}
}

// TestPanicAndHang ends kernels that do not end by themselves.
func TestPanicAndHang(t *testing.T) {
	each(t, func(t *testing.T, c *testCase) {
		r := c.run(t, nil, "--mem", "40M", "--", "sh", "-c", "echo 1 >/proc/sys/vm/panic_on_oom; mount -t tmpfs -o size=1g none /mnt; dd if=/dev/zero of=/mnt/fill bs=64k")
		assert.Equal(t, 125, r.status)
		assert.Contains(t, r.stderr, "ended with status 134 and without the command's; the end of its log:")
		assert.Contains(t, r.stderr, "Kernel panic - not syncing: Out of memory")
		r = c.run(t, nil, "--timeout", "2500ms", "--", "sleep", "60")
		assert.Equal(t, 125, r.status)
		assert.Contains(t, r.stderr, "was still running after 2.5s")
		assert.Regexp(t, `and was ended; the end of its log:\n.*\S`, r.stderr)
	})
}

// TestNeverBoots takes kernels that do not reach PID 1: programs that print a release, which the
// check before the boot needs, and then hang or end.
func TestNeverBoots(t *testing.T) {
	gcc := need.Program(t, "gcc", "gcc")
	c := one(t)
	source := filepath.Join(c.dir, "kernel.c")
	require.NoError(t, os.WriteFile(source, []byte(`#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("6.99.1") < 0;
	puts("Linux version 6.99.1");
	puts("cannot find my memory");
	fflush(stdout);
#ifdef HANGS
	if (!fork())
		pause();
	pause();
#endif
	return 7;
}
`), 0o644))
	for _, test := range []struct{ define, want string }{
		{"HANGS", "was still running after 1s and was ended"}, {"ENDS", "ended with status 7 and without the command's"},
	} {
		kernel := filepath.Join(c.dir, test.define)
		tool(t, gcc, "-static", "-D"+test.define, "-o", kernel, source)
		r := c.run(t, nil, "--kernel", kernel, "--timeout", "1s", "--", "true")
		assert.Equal(t, result{125, "", "binproxy: uml: the kernel " + kernel + " (6.99.1) " + test.want +
			"; the end of its log:\nLinux version 6.99.1\ncannot find my memory\n"}, r)
	}
}
