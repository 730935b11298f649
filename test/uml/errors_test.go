package uml

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/uml"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// TestChecks expects one line for each mistake, before a kernel boots.
func TestChecks(t *testing.T) {
	c := one(t)
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(c.dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		return path
	}
	bz := make([]byte, 0x400)
	copy(bz, "MZ")
	copy(bz[0x202:], "HdrS")
	arm64 := content(t, filepath.Join(shared, "arm64/bin/sh"))
	program := content(t, built.Binproxy(t))
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--kernel", c.dir + "/none"}, "kernel .*/none: no such file or directory; binproxy uml kernel list shows"},
		{[]string{"--kernel", c.dir}, "kernel .*: not a file"},
		{[]string{"--kernel", "9.9.9"}, "no kernel 9.9.9; see binproxy uml kernel list"},
		{[]string{"--kernel", file("text", "hello", 0o755)}, "kernel .*: not a User Mode Linux kernel: not a program"},
		{[]string{"--kernel", file("bz", string(bz), 0o755)}, "kernel .*: a kernel for a machine of its own"},
		{[]string{"--kernel", "/bin/true"}, "kernel /bin/true: not a User Mode Linux kernel: asked for its version"},
		{[]string{"--kernel", file("arm64", arm64, 0o755)}, "kernel .*/arm64: not a program for this host, x86_64"},
		{[]string{"--kernel", file("plain", program, 0o644)}, "kernel .*/plain: may not be executed: permission denied"},
		{[]string{"--kernel", file("cut", program[:100], 0o755)}, "kernel .*/cut: "},
		{[]string{"--root", c.dir + "/none"}, "--root .*/none: no such file or directory"},
		{[]string{"--root", c.kernel}, "--root .*/linux: not a directory"},
		{[]string{"--mem", "16M"}, "--mem 16M: the kernel does not boot with less than 40M"},
		{[]string{"--mem", "900000G"}, "--mem .* this machine has [0-9]+M of memory"},
		{[]string{"--memdir", c.dir + "/none"}, "--memdir .*/none: no such file"},
		{[]string{"--publish", "1:2"}, "--publish needs --net"},
		{[]string{"--bind", c.dir + "/none:/x"}, "--bind .*/none: .*no such file"},
		{[]string{"--bind", "/:/"}, "has to be an absolute path below /"},
		{[]string{"--upper", c.dir + "/none"}, "--upper .*/none: no such file"},
		{[]string{"--rw", "--upper", c.dir}, "--upper keeps the layer of an overlay"},
		{[]string{"--rw", "--ro"}, "only one of --ro, --overlay and --rw"},
		{[]string{"--arch", "arm64", "--emulator", "/bin/true"}, "emulator /bin/true is dynamically linked"},
		{[]string{"--net=token"}, `"token" is neither vector nor slirp`},
		{[]string{"--arch", "arm64", "--emulator", c.dir + "/none"}, "emulator: open .*/none: no such file"},
		{[]string{"--arch", "vax"}, "vax"},
		{[]string{"--mem", "lots"}, `"lots" is no size such as 64M or 1G`},
	} {
		r := c.run(t, nil, append(test.args, "--", "true")...)
		assert.Equal(t, 125, r.status, "%v", test.args)
		assert.Regexp(t, "^binproxy: uml.*"+test.want+".*\n$", r.stderr, "%v", test.args)
	}
	if c.name != debian {
		r := c.run(t, nil, "--net=slirp", "--", "true")
		assert.Equal(t, 125, r.status)
		assert.Regexp(t, "^binproxy: uml: --net: the kernel .* has no CONFIG_UML_NET_SLIRP\n$", r.stderr)
	}
	r := c.run(t, nil, "--", "/bin/none")
	assert.Equal(t, 127, r.status)
	assert.Regexp(t, `^binproxy: uml: /bin/none: .*no such file or directory in the root .*\n$`, r.stderr)
	r = c.run(t, nil, "--", "/etc/motd")
	assert.Equal(t, 126, r.status)
	assert.Regexp(t, `^binproxy: uml: /etc/motd: .*permission denied`, r.stderr)
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// TestNotAllowed expects a message if the user may not do what a run needs.
func TestNotAllowed(t *testing.T) {
	need.Root(t) // to make a file that an ordinary user may not open
	c := one(t)
	shut := filepath.Join(c.dir, "shut")
	require.NoError(t, os.Mkdir(shut, 0o700))
	open := filepath.Join(c.dir, "open")
	require.NoError(t, os.Mkdir(open, 0o755))
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--root", shut}, "--root .*/shut: permission denied"},
		{[]string{"--upper", open}, "--upper .*/open: the layer cannot be kept there: permission denied"},
		{[]string{"--memdir", open}, "--memdir .*/open: no file can be made there: permission denied"},
	} {
		r := c.run(t, nil, append(test.args, "--", "true")...)
		assert.Equal(t, 125, r.status, "%v", test.args)
		assert.Regexp(t, "^binproxy: uml: "+test.want+"\n$", r.stderr, "%v", test.args)
	}
}

// TestNoInit runs this program from files that cannot be the guest's PID 1: a dynamically linked
// one, and one that may be run but not read.
func TestNoInit(t *testing.T) {
	c := one(t)
	run := func(program string) result {
		cmd := c.command("--", "true")
		cmd.Path = program
		return finish(t, cmd, nil)
	}
	dynamic := filepath.Join(c.dir, "dynamic")
	need.Program(t, "gcc", "gcc")
	// gcc links it, from the same objects as the static one.
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -linkmode=external", "-o", dynamic, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	made := finish(t, build, nil)
	require.Zero(t, made.status, made.stderr)
	require.NoError(t, os.Rename(dynamic, filepath.Join(c.dir, "binproxy")))
	r := run(filepath.Join(c.dir, "binproxy"))
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: no init: .*/binproxy is to be the guest's PID 1 and is not statically linked; build it with CGO_ENABLED=0\n$`, r.stderr)

	if c.uid == os.Geteuid() {
		return // the owner's own file; only another user's can be run but not read
	}
	unread := filepath.Join(c.dir, "unread")
	require.NoError(t, os.Mkdir(unread, 0o755))
	require.NoError(t, copyFile(built.Binproxy(t), filepath.Join(unread, "binproxy")))
	require.NoError(t, os.Chmod(filepath.Join(unread, "binproxy"), 0o711))
	r = run(filepath.Join(unread, "binproxy"))
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: no init: this program's own file is to be the guest's PID 1: open .*: permission denied\n$`, r.stderr)
}

// TestPoorHost runs with HOME unset, and /dev/shm and TMPDIR unusable. A chosen place for the
// memory is checked.
func TestPoorHost(t *testing.T) {
	c := one(t)
	unshare := need.Program(t, "unshare", "util-linux")
	run := func(script string, args ...string) result {
		inner := c.command(args...)
		flags := []string{"--mount", "--map-root-user", "sh", "-ec", script, inner.Path}
		cmd := exec.Command(unshare, append(flags, inner.Args...)...)
		cmd.Dir, cmd.SysProcAttr, cmd.Env = inner.Dir, inner.SysProcAttr, []string{"PATH=/bin:/usr/bin:/usr/sbin:/sbin", "EMPTY=" + c.dir + "/tmp"}
		return finish(t, cmd, nil)
	}
	const poor = `mount -t tmpfs -o size=1m,noexec none /dev/shm; export TMPDIR=/dev/shm; `
	assert.Equal(t, result{0, "hello\n", ""}, run(poor+`exec "$@"`, "--", "cat", "/etc/motd"))
	r := run(poor+`exec "$@"`, "--memdir", "/dev/shm", "--", "true")
	assert.Equal(t, 125, r.status)
	assert.Contains(t, r.stderr, "--memdir /dev/shm is on a file system mounted noexec")
	r = run(`mount -t tmpfs -o size=8m none /dev/shm; exec "$@"`, "--memdir", "/dev/shm", "--", "true")
	assert.Equal(t, 125, r.status)
	assert.Contains(t, r.stderr, "--memdir /dev/shm has 8M free, too little for --mem 64M")
	r = run(`echo 0 >/proc/sys/user/max_user_namespaces; echo 0 >/proc/sys/user/max_mnt_namespaces; exec "$@"`, "--", "true")
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: make the namespaces that a guest's kernel is bounded by: .*; /proc/sys/user/max_user_namespaces is 0 on this host\n$`, r.stderr)
	r = run(`mount -t tmpfs none /usr/sbin; mount --bind $EMPTY /usr/bin; exec "$@"`, "--net", "--", "true")
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: --net needs the program slirp4netns \(Debian's package slirp4netns\)\n$`, r.stderr)
	r = run(`mount --bind $EMPTY /usr/bin; XDG_CACHE_HOME=$EMPTY exec $0 uml run -- true`)
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: no User Mode Linux kernel: make one with binproxy uml kernel build, get one with binproxy uml kernel fetch, or install Debian's package user-mode-linux \(/usr/bin/linux.uml\)\n$`, r.stderr)
	r = run(`mount -t tmpfs -o size=200m none /dev/shm; "$@"; s=$?; ls -A /dev/shm; exit $s`, "--memdir", "/dev/shm", "--", "cat", "/etc/motd")
	assert.Equal(t, result{0, "hello\n", ""}, r)
}

// TestPtraceRefused makes a seccomp filter refuse ptrace.
func TestPtraceRefused(t *testing.T) {
	c := one(t)
	gcc := need.Program(t, "gcc", "gcc")
	program := filepath.Join(c.dir, "noptrace")
	tool(t, gcc, "-o", program, "testdata/noptrace.c")
	inner := c.command("--", "true")
	cmd := exec.Command(program, inner.Args...)
	cmd.Dir, cmd.SysProcAttr, cmd.Env = inner.Dir, inner.SysProcAttr, inner.Env
	r := finish(t, cmd, nil)
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: ptrace is refused .*\n$`, r.stderr)
}

// TestTracedAlready runs it in a supervised tree.
func TestTracedAlready(t *testing.T) {
	inner := one(t).command("--", "true")
	cmd := exec.Command(inner.Path, append([]string{"run", "--"}, inner.Args...)...)
	cmd.Dir, cmd.SysProcAttr, cmd.Env = inner.Dir, inner.SysProcAttr, inner.Env
	r := finish(t, cmd, nil)
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: this process is traced already, by binproxy .*\n$`, r.stderr)
}

// TestKernelList shows the kernels that are found, with the reason for those that cannot run here.
func TestKernelList(t *testing.T) {
	t.Parallel()
	k, err := uml.Open(debianKernel)
	need.Installed(t, err == nil, "Debian's kernel (package user-mode-linux)")
	c := newCase(t, packaged(), os.Geteuid())
	cmd := c.command()
	cmd.Args = []string{cmd.Path, "uml", "kernel", "list"}
	cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+c.dir+"/cache") // for what it keeps of its trials
	r := finish(t, cmd, nil)
	assert.Equal(t, 0, r.status, r.stderr)
	_, shown, found := strings.Cut(r.stdout, k.Release+"\t"+debianKernel+"\n")
	require.True(t, found, r.stdout)
	runs := "yes"
	if k.RunsHere() != nil {
		runs = "no: cannot run on this CPU, .*"
	}
	assert.Regexp(t, `^  runs here +`+runs+`\n`, shown)
	assert.Regexp(t, `(?m)^  overlay +as a module, in /usr/lib/uml/modules/`+regexp.QuoteMeta(k.Release), shown)
	assert.Regexp(t, `(?m)^  vector +yes$`, shown)
}
