package execs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/host"
	"binproxy/test/lib/need"
)

const mounter = 65534

// mountFor mounts a directory's files by FUSE, for one user alone, and gives the mount.
func mountFor(t *testing.T, dir string, user int) string {
	t.Helper()
	at := t.TempDir()
	image, mount := filepath.Join(at, "image"), filepath.Join(at, "mount")
	require.NoError(t, os.Mkdir(mount, 0o755))
	host.Reachable(t, at)
	out, err := exec.Command(need.Program(t, "mksquashfs", "squashfs-tools"), dir, image, "-quiet", "-no-progress").CombinedOutput()
	require.NoError(t, err, "%s", out)
	squashfuse := need.Program(t, "squashfuse", "squashfuse")
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	require.NoError(t, err)
	defer device.Close()
	require.NoError(t, unix.Mount("fuse", mount, "fuse", unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", device.Fd(), user, user)))
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	server := exec.Command(squashfuse, "-f", image, "/dev/fd/3")
	server.ExtraFiles, server.Stderr = []*os.File{device}, os.Stderr
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	look := as(t, user, "test", "-e", mount+"/probe")
	require.Eventually(t, func() bool {
		return exec.Command(look[0], look[1:]...).Run() == nil
	}, time.Minute, 20*time.Millisecond)
	return mount
}

// as is the command by a user.
func as(t *testing.T, user int, argv ...string) []string {
	return append([]string{need.Program(t, "setpriv", "util-linux"), fmt.Sprint("--reuid=", user), fmt.Sprint("--regid=", user), "--clear-groups"}, argv...)
}

// A FUSE mount lets in only its user, neither root nor a thread that has that user's ids for its
// file system alone. Under root's supervisor that user executes its programs as under the kernel,
// and others do not.
func TestOwnFUSE(t *testing.T) {
	need.Root(t)
	b := newBench(t, kinds[0])
	mount := mountFor(t, b.dir, mounter)
	for _, argv := range [][]string{
		{mount + "/probe", "x"},
		{"sh", "-c", "cd " + mount + " && ./probe x"},
		{"sh", "-c", "cd " + mount + " && exec ./probe x"},
		{mount + "/script", "x"},
		{mount + "/nothing"},
		{mount},
		{"@/native", "exec", mount + "/probe", "x"},
		{"@/native", "spawn", mount + "/probe", "x"},
	} {
		for _, user := range []int{mounter, mounter - 1} {
			command := as(t, user, argv...)
			require.Equal(t, b.kernel(t, nil, command...), b.supervised(t, "", nil, command...), "%v", command)
		}
	}
}

// A program that opens only to the capabilities of a user namespace.
func TestCapabilitiesOfANamespace(t *testing.T) {
	need.Root(t)
	b := newBench(t, kinds[0])
	shut := filepath.Join(b.dir, "shut")
	require.NoError(t, os.Mkdir(shut, 0o755))
	require.NoError(t, os.Link(b.dir+"/probe", shut+"/probe"))
	require.NoError(t, os.Chown(shut, mounter, mounter))
	require.NoError(t, os.Chmod(shut, 0))
	for _, inside := range [][]string{
		{"unshare", "-Ur", shut + "/probe", "x"},
		{"unshare", "-Ur", "sh", "-c", "cd " + shut + " && ./probe x"},
		{"unshare", "-Ur", "--mount", shut + "/probe", "x"},
		{"unshare", "-U", shut + "/probe", "x"},
		{shut + "/probe", "x"},
	} {
		command := as(t, mounter, inside...)
		require.Equal(t, b.kernel(t, nil, command...), b.supervised(t, "", nil, command...), "%v", command)
	}
}
