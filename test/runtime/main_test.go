// Package runtime runs containers of another architecture by `binproxy runtime`: by the runtimes
// that it wraps, and by the engines that call it.
package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/host"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

func TestMain(m *testing.M) { lab.Main(m) }

// release is the release that the bundles of these tests show.
const release = "4.15.0-112-generic"

// patience is how long a test waits for something before it gives up.
const patience = time.Minute

// files is a root of arm64: a static program with many names, and a dynamic shell.
func files() *fixture.Fixture {
	packages := debs.Of(lab.Suite, "arm64", "busybox-static", "dash", "libc6")
	return &fixture.Fixture{
		Name: "runtime/root-" + lab.Suite + "-arm64", What: packages.String(), From: packages.From(),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			return packages.Unpack(ctx, work, made, held)
		},
	}
}

// root makes a root of arm64.
func root(t testing.TB) string {
	t.Helper()
	shared := files().For(t)
	dir := filepath.Join(t.TempDir(), "rootfs")
	out, err := exec.Command("cp", "-a", shared, dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range []string{"dev", "proc", "sys", "tmp", "mnt", "etc"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "bin/sh")))
	require.NoError(t, os.Symlink("dash", filepath.Join(dir, "bin/sh")))
	for _, applet := range []string{"cat", "date", "env", "id", "ls", "mount", "ps", "setsid", "sleep", "sort", "true", "uname"} {
		require.NoError(t, os.Symlink("busybox", filepath.Join(dir, "bin", applet)))
	}
	return dir
}

// runtimeLink makes a bundle with an emulator for arm64 and gives the link that engines call.
func runtimeLink(t testing.TB) string {
	t.Helper()
	need.Emulator(t, "aarch64")
	dir := t.TempDir()
	out, err := exec.Command(built.Binproxy(t), "bundle", "--arch", "arm64", "--release", release, "-o", dir+"/bundle").CombinedOutput()
	require.NoError(t, err, "%s", out)
	host.Reachable(t, dir)
	link := dir + "/binproxy-runtime"
	require.NoError(t, os.Symlink("bundle/binproxy", link))
	return link
}

// real is a runtime to wrap.
type real struct {
	name, path string
	before     []string // words at the start of the command line
}

// reals are the runtimes of this machine.
func reals(t testing.TB) []real {
	t.Helper()
	list := []real{{"runc", need.Program(t, "runc", "runc"), nil}, {"crun", need.Program(t, "crun", "crun"), nil}}
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		// crun refuses a machine that has control groups of both versions.
		list[1].before = []string{"unshare", "--mount", "--propagation", "slave", "sh", "-c", `umount -l /sys/fs/cgroup/unified && exec "$@"`, "sh"}
	}
	return list
}

// bundleDir is a directory with a config.json.
type bundleDir struct {
	t       testing.TB
	dir, id string // id is the container's name
	link    string
	real    real
}

var made atomic.Int32

// newBundle makes a container's bundle of the root; edit changes runc's example of a config.json.
func newBundle(t testing.TB, link, root string, r real, edit func(c config)) bundleDir {
	t.Helper()
	dir := t.TempDir()
	b := bundleDir{t, dir, fmt.Sprintf("binproxy-test-%d-%d", os.Getpid(), made.Add(1)), link, r}
	cmd := exec.Command("runc", "spec")
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	text, err := os.ReadFile(b.dir + "/config.json")
	require.NoError(t, err)
	c := config{}
	require.NoError(t, json.Unmarshal(text, &c))
	c.at("process")["terminal"] = false
	c.at("root")["path"] = root
	edit(c)
	b.write(c)
	return b
}

func (b bundleDir) write(c config) {
	b.t.Helper()
	text, err := json.Marshal(c)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(b.dir+"/config.json", text, 0o644))
}

// config is a config.json, or an object in one.
type config map[string]any

func (c config) at(name string) config { return c[name].(map[string]any) }

func (c config) args(args ...string) { c.at("process")["args"] = args }

// command is a command line of the wrapped runtime.
func (b bundleDir) command(args ...string) *exec.Cmd {
	words := append([]string{}, b.real.before...)
	words = append(words, b.link, "--runtime", b.real.path, "--root", b.dir+"/state")
	words = append(words, args...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = b.dir
	return cmd
}

// removeGroups removes, when the test ends, the control groups with such names that it has left,
// and those in them.
func removeGroups(t testing.TB, name func(string) bool) {
	t.Helper()
	before := groups(t, name)
	t.Cleanup(func() {
		for _, group := range slices.Backward(groups(t, name)) {
			if !slices.Contains(before, group) {
				// A process that has just ended may still be in it.
				require.Eventually(t, func() bool {
					err := os.Remove(group)
					return err == nil || os.IsNotExist(err)
				}, patience, 10*time.Millisecond, group)
			}
		}
	})
}

// groups are the control groups with such names, each before those in it.
func groups(t testing.TB, name func(string) bool) []string {
	t.Helper()
	var list []string
	require.NoError(t, filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && name(d.Name()) {
			list = append(list, path)
		}
		return nil // one that has gone meanwhile does not count
	}))
	return list
}

// do runs a command line, and gives its output on either stream and its status.
func (b bundleDir) do(args ...string) (out, diagnostics string, status int) {
	b.t.Helper()
	cmd := b.command(args...)
	var o, d bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &d
	err := cmd.Run()
	require.NotNil(b.t, cmd.ProcessState, "%v", err)
	return o.String(), d.String(), cmd.ProcessState.ExitCode()
}
