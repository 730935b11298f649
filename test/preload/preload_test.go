// Package preload builds images through LD_PRELOAD alone: no farm, and a seccomp profile that
// refuses ptrace.
package preload

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

func TestMain(m *testing.M) { lab.Main(m) }

// profile has the calls that an engine may refuse.
const profile = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
	{"names": ["ptrace", "process_vm_readv", "process_vm_writev"], "action": "SCMP_ACT_ERRNO"}]}`

// On Linux `docker build` takes no --security-opt: so the Dockerfile runs nothing, and the tests
// run the lines in the image.
const dockerfile = `ARG BASE
FROM $BASE
ADD bundle refused script /binproxy/
ENTRYPOINT ["/binproxy/sh", "-ec"]
`

// A line runs in the image's shell, in a container of its own.
type line struct {
	text, want string
	status     int
}

// common are the lines for every image.
var common = []line{
	{"/binproxy/refused", "ptrace: operation not permitted\n", 0},
	{"/bin/date -u -d @0 +%F", "1970-01-01\n", 0},
	{"date -u -d @0 +%F | /usr/bin/sort", "1970-01-01\n", 0},
	{"/usr/bin/env -i /bin/sh -c '/bin/echo cleared; /usr/bin/env | /bin/grep -c LD_PRELOAD'", "cleared\n1\n", 0},
	{"cat /proc/sys/kernel/osrelease; cat < /proc/sys/kernel/version", "4.15.0-112-generic\n#1 SMP\n", 0},
	{"/bin/uname -r; exec /binproxy/script one", "4.15.0-112-generic\n/binproxy/script one\n", 0},
	{"/usr/bin/find /binproxy/script -exec /bin/echo found {} ';'; echo two | /usr/bin/xargs /bin/echo", "found /binproxy/script\ntwo\n", 0},
	{"/bin/gone", "sh: /bin/gone: not found\n", 127},
	{"/binproxy/binproxy.conf", "sh: /binproxy/binproxy.conf: Permission denied\n", 126},
	{"exec /bin/sh -c 'exit 7'", "", 7},
	// not as the container's first process, which survives such a signal
	{"/bin/sh -c 'kill -9 $$' || exit $?", "Killed\n", 137},
}

var debianLines = append([]line{
	{`/usr/bin/perl -MPOSIX -e '$| = 1; system("/bin/echo system"); print qx(/bin/echo read); exec "/binproxy/script", (uname)[2]'`,
		"system\nread\n/binproxy/script 4.15.0-112-generic\n", 0},
	{"cd /tmp; /bin/cp /bin/echo mine; ./mine mine; PATH=.:$PATH mine found", "mine\nfound\n", 0},
	// A setuid program runs, is hooked, and gains no rights.
	{"cp /usr/bin/env /usr/bin/id /tmp; chmod 4755 /tmp/env /tmp/id; /usr/bin/setpriv --reuid 65534 --clear-groups /tmp/env /tmp/id -u", "65534\n", 0},
}, common...)

var muslLines = append([]line{
	{`/usr/bin/awk 'BEGIN { system("/bin/echo system; exit 3"); "/bin/echo read" | getline a; print a; print "b\na" | "/usr/bin/sort" }'`,
		"system\nread\na\nb\n", 0},
	{"cd /tmp; /bin/cp /bin/busybox echo; ./echo mine; PATH=.:$PATH env echo found", "mine\nfound\n", 0},
}, common...)

func TestPtraceRefused(t *testing.T) {
	debianBase := func(port string) func(*testing.T) string {
		return func(t *testing.T) string { return lab.Classic(t).Base(t, port) }
	}
	for _, g := range []struct {
		name  string
		abi   *arch.ABI
		route string // auto has to take it for one of them
		base  func(*testing.T) string
		shell string // the start of its complaints
		lines []line
	}{
		{"arm64", arch.Get("aarch64"), "preload", debianBase("arm64"), "sh: 1: ", debianLines},
		{"armhf", arch.Get("armhf"), "auto", debianBase("armhf"), "sh: 1: ", debianLines},
		{"musl", arch.Get("aarch64"), "preload", func(t *testing.T) string { return load(t, muslRoot(t), "musl", "arm64") }, "sh: ", muslLines},
	} {
		t.Run(g.name, func(t *testing.T) {
			if g.name != "armhf" {
				need.Long(t)
			}
			context := t.TempDir()
			makeContext(t, context, g.abi)
			image := lab.MustBuild(t, lab.Classic(t), lab.Build{Context: context, Dockerfile: dockerfile, Args: map[string]string{"BASE": g.base(t)}}).Image
			if g.route == "auto" && testing.Short() {
				// if asked for, it is taken without a message
				said, status := runLine(t, context, image, g.abi, "preload", "none", g.lines[0].text)
				assert.Equal(t, g.lines[0].want, said)
				assert.Equal(t, g.lines[0].status, status)
			}
			for _, l := range g.lines {
				said, status := runLine(t, context, image, g.abi, g.route, "none", l.text)
				said = strings.ReplaceAll(said, "/binproxy/sh: ", "sh: ")
				if g.route == "auto" {
					var warning string
					warning, said, _ = strings.Cut(said, "\n")
					assert.Contains(t, warning, "the route supervise is refused: ptrace(PTRACE_SEIZE): operation not permitted; going by preload")
				}
				assert.Equal(t, strings.ReplaceAll(l.want, "sh: ", g.shell), said, l.text)
				assert.Equal(t, l.status, status, l.text)
			}
		})
	}
}

// TestApt finishes a root and installs a package in it, with every program that debootstrap, apt
// and dpkg start by their own paths.
func TestApt(t *testing.T) {
	debs.Network(t)
	for _, abi := range []*arch.ABI{arch.Get("aarch64"), arch.Get("armhf")} {
		t.Run(abi.Debian, func(t *testing.T) {
			need.Long(t)
			context, builder := t.TempDir(), lab.Classic(t)
			makeContext(t, context, abi)
			base := load(t, lab.FirstStage(t, abi.Debian), "first-stage", abi.Debian)
			image := lab.MustBuild(t, builder, lab.Build{Context: context, Dockerfile: dockerfile, Args: map[string]string{"BASE": base}}).Image
			said, status := runLine(t, context, image, abi, "preload", "host", "/binproxy/refused; /debootstrap/debootstrap --second-stage; "+
				"apt-get update -qq && apt-get install -y -qq --no-install-recommends cowsay && /usr/games/cowsay from far away")
			assert.Zero(t, status, said)
			assert.Contains(t, said, "ptrace: operation not permitted\n")
			assert.Contains(t, said, "Base system installed successfully")
			assert.Contains(t, said, " _______________\n< from far away >\n ---------------\n        \\   ^__^\n")
		})
	}
}

// makeContext makes the contents of the images: the bundle of a plain build, a program that calls
// ptrace, a script; and the profile.
func makeContext(t *testing.T, context string, abi *arch.ABI) {
	t.Helper()
	bundle := filepath.Join(context, "bundle")
	args := []string{"bundle", "--arch", abi.Name, "--emulator", need.Emulator(t, abi.QEMU), "--release", "4.15.0-112-generic", "-o", bundle}
	out, err := exec.Command(built.Binproxy(t), args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	built.Guest(t, runtime.GOARCH, "testdata/refused.go", filepath.Join(context, "refused"))
	write(t, context, "script", "#!/bin/sh -e\n/bin/echo $0 $*\n")
	write(t, context, "profile", profile)
}

// runLine gives both streams, and the status.
func runLine(t *testing.T, context, image string, abi *arch.ABI, route, network, text string) (string, int) {
	t.Helper()
	cmd := lab.SharedEngine(t).Command(t.Context(), "run", "--rm", "--platform", abi.Platform(), "--network", network, "--env", "BINPROXY_ROUTE="+route,
		"--security-opt", "seccomp="+filepath.Join(context, "profile"), image, text)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// load makes an image of the archive of a root, and gives its name.
func load(t *testing.T, root, name, port string) string {
	t.Helper()
	engine, ref := lab.SharedEngine(t), fmt.Sprintf("binproxy-lab-%d/%s:%s", os.Getpid(), name, port)
	require.NoError(t, engine.Load(t.Context(), root, port, ref))
	t.Cleanup(func() { _ = engine.Command(context.Background(), "rmi", "--force", ref).Run() })
	return ref
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
}
