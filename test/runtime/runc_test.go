package runtime

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/debs"
	"binproxy/test/lib/host"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/modules"
	"binproxy/test/lib/need"
)

// runcFiles are the files of runc's own integration cases that concern a container's command.
var runcFiles = []string{"create", "cwd", "debug", "delete", "dev", "exec", "help", "kill", "list", "mask", "mounts",
	"no_pivot", "pause", "ps", "root", "run", "start", "start_detached", "start_hello", "state", "tty", "umask", "userns"}

// differing are the cases that a foreign container cannot pass: a program with threads, as every
// emulator is, cannot unshare its user namespace.
var differing = []string{"runc run --no-pivot must not expose bare /proc"}

// runc's own integration cases give the same results when binproxy stands before runc, for a
// native container and for a foreign one.
//
// Which cases pass here at all, runc alone says: some need control groups of one version, or gawk.
func TestRuncCases(t *testing.T) {
	need.Everything(t) // a quarter of an hour
	need.Root(t)
	runc, link := need.Program(t, "runc", "runc"), runtimeLink(t)
	s := newRuncCases(t, runc)
	native, foreign := s.image(t, "amd64"), s.image(t, "arm64")
	for _, file := range runcFiles {
		t.Run(file, func(t *testing.T) {
			want := s.passing(t, file, runc, native)
			need.Given(t, len(want) > 0, "a machine where runc passes its own cases")
			assert.Equal(t, want, s.passing(t, file, link, native), "a native container")
			want = slices.DeleteFunc(want, func(name string) bool { return slices.Contains(differing, name) })
			assert.Equal(t, want, s.passing(t, file, link, foreign), "a foreign container")
		})
	}
}

// runcCases are runc's integration cases, in a directory of their own.
type runcCases struct {
	dir, runc string
}

func newRuncCases(t testing.TB, runc string) runcCases {
	t.Helper()
	for name, pkg := range map[string]string{"bats": "bats", "jq": "jq", "script": "bsdutils", "unshare": "util-linux"} {
		need.Program(t, name, pkg)
	}
	dir := t.TempDir()
	host.Reachable(t, dir)
	source := debs.Source(t, lab.Suite, "runc")
	for from, to := range map[string]string{
		source + "/tests/integration":      dir + "/tests/integration",
		modules.Runc.Program(t, "recvtty"): dir + "/contrib/cmd/recvtty/recvtty",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		out, err := exec.Command("cp", "-r", from, to).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	// Upstream's script downloads the images.
	script := "#!/bin/sh\necho BUSYBOX_IMAGE=$BINPROXY_TEST_IMAGE\necho DEBIAN_IMAGE=$BINPROXY_TEST_IMAGE\n"
	require.NoError(t, os.WriteFile(dir+"/tests/integration/get-images.sh", []byte(script), 0o755))
	s := runcCases{dir, runc}
	// Upstream's helper goes on before the terminal's receiver listens.
	const started = `"$CONSOLE_SOCKET" &) &`
	s.edit(t, "helpers.bash", started, started+"\n\tretry 600 0.1 test -S \"$CONSOLE_SOCKET\"")
	removeGroups(t, func(name string) bool {
		return strings.HasPrefix(name, "test_") || strings.HasPrefix(name, "runc-cgroups-integration-test")
	})
	return s
}

// edit replaces a text in a file of the cases.
func (s runcCases) edit(t testing.TB, file, old, text string) {
	t.Helper()
	path := filepath.Join(s.dir, "tests/integration", file)
	all, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(all), old)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(all), old, text)), 0o644))
}

// image is a tar archive of a root with busybox under all its names.
func (s runcCases) image(t testing.TB, port string) string {
	t.Helper()
	dir := filepath.Join(s.dir, port)
	// cases make /proc and /sys themselves
	for _, name := range []string{"bin", "dev", "etc", "home", "root", "tmp"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	program := debs.UnpackedFor(t, lab.Suite, port, "busybox-static") + "/bin/busybox"
	out, err := exec.Command("cp", program, dir+"/bin/busybox").CombinedOutput()
	require.NoError(t, err, "%s", out)
	names, err := exec.Command(debs.Unpacked(t, lab.Suite, "busybox-static")+"/bin/busybox", "--list").Output()
	require.NoError(t, err)
	for _, name := range strings.Fields(string(names)) {
		if name != "busybox" {
			require.NoError(t, os.Link(dir+"/bin/busybox", dir+"/bin/"+name))
		}
	}
	require.NoError(t, os.WriteFile(dir+"/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644))
	require.NoError(t, os.WriteFile(dir+"/etc/group", []byte("root:x:0:\n"), 0o644))
	return image(t, dir)
}

// outcome is a line of TAP about one case: "not", the case's name, and why it was skipped.
var outcome = regexp.MustCompile(`(?m)^(not )?ok \d+ (.*?)( # skip.*)?\r?$`)

// passing runs the cases of a file with a runtime and an image, and gives the names of those that
// passed. Mounts and processes that a case leaves end with the namespaces; the cases have a
// terminal, which runc opens.
func (s runcCases) passing(t testing.TB, file, runtime, image string) (list []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"script", "-qc", "bats --tap "+file+".bats", "/dev/null")
	cmd.Dir = s.dir + "/tests/integration"
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir, "RUNC="+runtime, "BINPROXY_RUNTIME="+s.runc, "BINPROXY_TEST_IMAGE="+image)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	list = []string{}
	for _, match := range outcome.FindAllStringSubmatch(string(out), -1) {
		if match[1] == "" && match[3] == "" {
			list = append(list, match[2])
		}
	}
	if strings.Contains(string(out), "\nnot ok") {
		t.Logf("%s %s:\n%s", runtime, filepath.Base(image), out)
	}
	slices.Sort(list)
	return list
}
