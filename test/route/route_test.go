// Package route runs real guest programs in real roots, through the farm: chroot(2) stands for a
// container.
package route

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/snapshot"
)

// image is a Debian root on an overlay, so that each test has a fresh one.
type image struct {
	t    *testing.T
	root string
}

type result struct {
	stdout, stderr string
	status         int // 128 + N for a signal
	pid            int
}

const dockerPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// start runs the program at path in the image with the environment of a build's RUN line.
func (i image) start(stdin, path string, argv []string, env ...string) result {
	i.t.Helper()
	var out, errs bytes.Buffer
	cmd := &exec.Cmd{
		Path: path, Args: argv, Env: append([]string{dockerPath, "BINPROXY_ROUTE=farm"}, env...), Dir: "/", Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		SysProcAttr: &syscall.SysProcAttr{Chroot: i.root},
	}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return result{stderr: err.Error(), status: -1}
	}
	r := result{out.String(), errs.String(), cmd.ProcessState.ExitCode(), cmd.ProcessState.Pid()}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		r.status = 128 + int(ws.Signal())
	}
	return r
}

func (i image) run(argv ...string) result {
	i.t.Helper()
	return i.start("", argv[0], argv)
}

// sh is a RUN line.
func (i image) sh(line string) result { i.t.Helper(); return i.run("/bin/sh", "-c", line) }

func (i image) must(argv ...string) string {
	i.t.Helper()
	r := i.run(argv...)
	require.Zero(i.t, r.status, "%q: %s%s", argv, r.stdout, r.stderr)
	return r.stdout
}

func (i image) write(name, text string) {
	i.t.Helper()
	require.NoError(i.t, os.WriteFile(filepath.Join(i.root, name), []byte(text), 0o755))
}

type port struct{ debian, qemu, goarch, machine string }

var ports = []port{{"arm64", "aarch64", "arm64", "aarch64"}, {"armhf", "arm", "arm", "armv7l"}}

// inNamespace is set in the process that runs one test in a mount namespace; it names the
// directory with the unpacked roots.
const inNamespace = "ROUTE_TEST_IN_NAMESPACE"

// inImages calls do with a fresh image of each port, in a mount namespace of the test's own.
func inImages(t *testing.T, do func(i image, p port)) {
	need.Root(t)
	if os.Getenv(inNamespace) == "" {
		for _, p := range ports {
			debian(t, p.debian)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"="+unpacked)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if _, reason, skipped := strings.Cut(string(out), "needs "); skipped && strings.Contains(string(out), "--- SKIP") {
			t.Skip("needs " + strings.SplitN(reason, "\n", 2)[0])
		}
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS")
		return
	}
	require.NoError(t, syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	for _, p := range ports {
		need.Emulator(t, p.qemu)
		lower, over := debian(t, p.debian), t.TempDir()
		require.NoError(t, syscall.Mount("tmpfs", over, "tmpfs", 0, "mode=755"))
		defer syscall.Unmount(over, syscall.MNT_DETACH)
		for _, dir := range []string{"root", "upper", "work"} {
			require.NoError(t, os.Mkdir(filepath.Join(over, dir), 0o755))
		}
		root := filepath.Join(over, "root")
		err := syscall.Mount("overlay", root, "overlay", 0, "lowerdir="+lower+",upperdir="+over+"/upper,workdir="+over+"/work")
		need.Given(t, err == nil, "an overlay file system")
		defer syscall.Unmount(root, syscall.MNT_DETACH)
		t.Run(p.debian, func(t *testing.T) { do(image{t, root}, p) })
	}
}

// debian gives the port's unpacked root, made from the tests' cache once for all tests.
func debian(t *testing.T, name string) string {
	archive := lab.Root(t, name)
	dir := filepath.Join(unpacked, name)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	require.NoError(t, os.Mkdir(dir, 0o755))
	out, err := exec.Command("tar", "--numeric-owner", "-C", dir, "-xpf", archive).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

var unpacked = os.Getenv(inNamespace)

func TestMain(m *testing.M) {
	if unpacked != "" {
		os.Exit(m.Run())
	}
	var err error
	if unpacked, err = os.MkdirTemp("", "binproxy-route"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(unpacked)
	os.Exit(status)
}

// add puts the bundle into the image.
func (i image) add(p port, flags ...string) {
	i.t.Helper()
	args := append([]string{"bundle", "--arch", p.debian, "-o", filepath.Join(i.root, "binproxy")}, flags...)
	out, err := exec.Command(built.Binproxy(i.t), args...).CombinedOutput()
	require.NoError(i.t, err, "%s", out)
}

func (i image) argv(r result) string {
	i.t.Helper()
	require.Zero(i.t, r.status, r.stderr)
	got, _, _ := strings.Cut(r.stdout, " pid ")
	return got
}

// TestLines runs the lines of a Dockerfile; first its very first RUN, before anything is installed
// in place.
func TestLines(t *testing.T) {
	inImages(t, func(i image, p port) {
		i.add(p, "--release", "4.15.0-112-generic")
		i.must("/binproxy/binproxy", "install", "/usr/bin", "/bin")
		i.write("/script", "#!/usr/bin/perl -w\nprint \"$0 @ARGV\\n\";")
		i.write("/nested", "#! /script inner\n")
		i.write("/env", "#!/usr/bin/env -S mawk -f\nBEGIN { print 6 * 7 }\n")
		i.write("/shell", "#!/bin/sh\necho $0 $*\n")
		for _, test := range []struct {
			line, want string
			status     int
		}{
			{"sh -c 'echo Hello World !'", "Hello World !\n", 0},
			{"echo Hello World !", "Hello World !\n", 0},
			{"date -u -d @0 +%F", "1970-01-01\n", 0},
			{"/bin/date -u -d @0 +%F", "1970-01-01\n", 0},
			{"/bin/bash -c '/bin/date -u -d @0 +%F'", "1970-01-01\n", 0},
			{"bash -c '/bin/date -u -d @0 +%F'", "1970-01-01\n", 0},
			{"/bin/sh -c '/bin/date -u -d @0 +%F'", "1970-01-01\n", 0},
			{"sh -c 'date -u -d @0 +%F'", "1970-01-01\n", 0},
			{"printf 'b\\na\\n' | sort | head -n 1", "a\n", 0},
			{"false; echo $?", "1\n", 0},
			{"false", "", 1},
			{"exit 7", "", 7},
			{"kill -9 $$", "", 128 + 9},
			{"sh -c 'kill -TERM $$'; echo $?", "143\n", 0},
			{"/script a 'b c'", "/script a b c\n", 0},
			{"/nested x", "/script inner /nested x\n", 0},
			{"/env", "42\n", 0},
			{"/shell 1 2", "/shell 1 2\n", 0},
			{"uname -srm", "Linux 4.15.0-112-generic " + p.machine + "\n", 0},
			{"perl -MPOSIX -e 'print +(uname)[2]'", "4.15.0-112-generic", 0},
			{"find /etc/debian_version -exec cat {} + | wc -l", "1\n", 0},
			{"env -i /usr/bin/perl -e 'print join q(,), keys %ENV'", "", 0},
			{"nosuchcommand", "", 127},
			{"/etc/no-such-file", "", 127},
			{"/etc/debian_version", "", 126},
		} {
			r := i.sh(test.line)
			assert.Equal(t, test.status, r.status, "%s: %s", test.line, r.stderr)
			assert.Equal(t, test.want, r.stdout, "%s: %s", test.line, r.stderr)
		}
	})
}

// TestStart: the guest sees the same start as natively.
func TestStart(t *testing.T) {
	inImages(t, func(i image, p port) {
		i.add(p)
		built.Guest(t, p.goarch, "argv.go", filepath.Join(i.root, "usr/local/bin/argv"))
		i.write("/usr/local/bin/one", "#!/usr/local/bin/argv  one two \n")
		i.write("/usr/local/bin/two", "#!/usr/local/bin/one")
		// now nothing is installed yet
		first := i.start("", "/binproxy/sh", []string{"sh", "-c", "echo first"})
		assert.Equal(t, "first\n", first.stdout, first.stderr)
		i.must("/binproxy/binproxy", "install", "/usr/bin", "/usr/local/bin")
		farm := "/binproxy/farm/usr/local/bin/"
		for _, test := range []struct {
			path string
			argv []string
			want string
		}{
			{"/usr/local/bin/argv", []string{"weird name", "", "a b", "-x"}, `["weird name" "" "a b" "-x"]`},
			{farm + "argv", []string{"argv", "-0"}, `["argv" "-0"]`},
			{"/usr/local/bin/one", []string{"ignored", "x"}, `["/usr/local/bin/argv" "one two" "/usr/local/bin/one" "x"]`},
			{farm + "one", []string{"ignored", "x"}, `["/usr/local/bin/argv" "one two" "/usr/local/bin/one" "x"]`},
			{"/usr/local/bin/two", []string{"two"}, `["/usr/local/bin/argv" "one two" "/usr/local/bin/one" "/usr/local/bin/two"]`},
			{farm + "two", []string{"two"}, `["/usr/local/bin/argv" "one two" "/usr/local/bin/one" "/usr/local/bin/two"]`},
			{"usr/local/bin/argv", []string{"relative"}, `["relative"]`},
			{"/usr/../usr/./local/bin/argv", []string{"unclean"}, `["unclean"]`},
		} {
			assert.Equal(t, "argv "+test.want, i.argv(i.start("", test.path, test.argv)), "%s %q", test.path, test.argv)
		}
		r := i.sh("exec argv")
		assert.Contains(t, r.stdout, fmt.Sprintf("pid %d\n", r.pid))
		ignored := `exec perl -e 'print join " ", map { $SIG{$_} || "default" } qw(HUP INT PIPE TERM URG)'`
		assert.Equal(t, "default default default default default", i.sh(ignored).stdout)
		assert.Equal(t, "default IGNORE IGNORE IGNORE IGNORE", i.sh("trap '' INT PIPE TERM URG; "+ignored).stdout)

		quiet, loud := i.sh("argv | wc -l"), i.start("", "/bin/sh", []string{"sh", "-c", "argv | wc -l"}, "BINPROXY_DEBUG=1")
		assert.Equal(t, "1\n", quiet.stdout)
		assert.Equal(t, quiet.stdout, loud.stdout)
		assert.Empty(t, quiet.stderr)
		assert.Contains(t, loud.stderr, "for /usr/bin/wc")
		assert.Contains(t, loud.stderr, "exec /binproxy/qemu-"+p.qemu)
	})
}

// TestShell: the real shell handles every form that sh takes.
func TestShell(t *testing.T) {
	inImages(t, func(i image, p port) {
		i.add(p)
		i.must("/binproxy/binproxy", "install")
		i.write("/file", "echo file $0 $1\n")
		// A login shell reads it, and it sets another PATH, without the farm.
		require.NoError(t, os.Remove(filepath.Join(i.root, "etc/profile")))
		for _, test := range []struct {
			argv           []string
			stdin          string
			stdout, stderr string
			status         int
		}{
			{argv: []string{"/bin/sh", "-c", "echo $0 $1", "name", "one"}, stdout: "name one\n"},
			{argv: []string{"/bin/sh", "-e", "-c", "false; echo not here"}, status: 1},
			{argv: []string{"/bin/sh", "-ec", "false; echo not here"}, status: 1},
			{argv: []string{"/bin/sh", "-x", "-c", "echo traced"}, stdout: "traced\n", stderr: "+ echo traced\n"},
			{argv: []string{"/bin/sh", "-u", "+o", "nounset", "-c", "echo .$UNSET."}, stdout: "..\n"},
			{argv: []string{"/bin/sh", "/file", "arg"}, stdout: "file /file arg\n"},
			{argv: []string{"/bin/sh", "-s", "arg"}, stdin: "echo stdin $1", stdout: "stdin arg\n"},
			{argv: []string{"/bin/sh"}, stdin: "echo stdin; exit 3", stdout: "stdin\n", status: 3},
			{argv: []string{"-sh", "-c", "echo $0"}, stdout: "-sh\n"},
			{argv: []string{"/bin/sh", "/nowhere"}, stderr: "/bin/sh: 0: cannot open /nowhere: No such file\n", status: 2},
		} {
			r := i.start(test.stdin, "/bin/sh", test.argv)
			assert.Equal(t, result{test.stdout, test.stderr, test.status, r.pid}, r, "%q", test.argv)
		}
		assert.Equal(t, "/binproxy/farm/usr/bin/date\n", i.sh("command -v date").stdout)
		assert.Equal(t, i.sh("echo $PATH").stdout, i.sh("sh -c 'echo $PATH'").stdout)

		for _, shell := range []string{".binproxy.sh", "dash", "bash"} {
			require.NoError(t, os.Remove(filepath.Join(i.root, "usr/bin", shell)))
		}
		r := i.sh("echo")
		assert.Equal(t, 127, r.status)
		assert.Contains(t, r.stderr, "no shell")
	})
}

// TestNames: the name is neither an applet nor a link of ours.
func TestNames(t *testing.T) {
	inImages(t, func(i image, p port) {
		i.add(p)
		require.NoError(t, os.Symlink("/binproxy/binproxy", filepath.Join(i.root, "usr/bin/stranger")))
		for _, argv := range [][]string{{"/usr/bin/stranger"}, {"/usr/bin/stranger", "version"}} {
			r := i.run(argv...)
			assert.Equal(t, 127, r.status)
			assert.Empty(t, r.stdout)
			assert.Contains(t, r.stderr, "called as stranger, which is neither an applet nor a link")
			assert.Contains(t, r.stderr, "binproxy status")
		}
		r := i.run("/binproxy/binproxy", "nosuch")
		assert.Equal(t, 127, r.status)
		i.must("/binproxy/binproxy", "install")
		assert.Contains(t, i.must("/binproxy/binproxy", "status"), "not routed: /usr/bin/stranger: leads to binproxy")
	})
}

// TestClean: the image is as it was, to the nanosecond, except for the time of /, which ADD
// changed.
func TestClean(t *testing.T) {
	inImages(t, func(i image, p port) {
		before := snapshot.Of(t, i.root)
		i.add(p)
		added, err := os.Stat(i.root)
		require.NoError(t, err)
		out := i.must("/binproxy/binproxy", "install", "/usr/bin", "/usr/sbin")
		assert.Contains(t, out, "in place")
		status := i.must("/binproxy/binproxy", "status")
		assert.Contains(t, status, "routed by the farm")
		assert.NotContains(t, status, "attention")
		assert.Contains(t, i.must("/binproxy/binproxy", "status", "--json"), `"not_routed": `)
		assert.Contains(t, i.must("/binproxy/binproxy", "install", "/usr/bin", "/usr/sbin"), "(0 new, 0 dropped)")
		assert.Equal(t, "hi\n", i.sh("perl -e 'print qq(hi\\n)'").stdout)
		i.must("/bin/sh", "-c", "/binproxy/binproxy clean")
		cleaned, err := os.Stat(i.root)
		require.NoError(t, err)
		assert.Equal(t, added.ModTime(), cleaned.ModTime(), "the time of / is the one that ADD left")
		after := snapshot.Of(t, i.root)
		after[0] = before[0]
		snapshot.Same(t, before, after)
	})
}
