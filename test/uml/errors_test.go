package uml

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/need"
)

// TestChecks wants each mistake said in one line, before a kernel boots.
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
		{[]string{"--root", c.dir + "/none"}, "--root .*/none: no such file or directory"},
		{[]string{"--root", c.kernel}, "--root .*/linux: not a directory"},
		{[]string{"--mem", "16M"}, "--mem 16M: the kernel does not boot with less than 32M"},
		{[]string{"--mem", "900000G"}, "--mem .* this machine has [0-9]+M of memory"},
		{[]string{"--memdir", c.dir + "/none"}, "--memdir .*/none: no such file"},
		{[]string{"--publish", "1:2"}, "--publish needs --net"},
		{[]string{"--bind", c.dir + "/none:/x"}, "--bind .*/none: .*no such file"},
		{[]string{"--bind", "/:/"}, "has to be an absolute path below /"},
		{[]string{"--upper", c.dir + "/none"}, "--upper .*/none: no such file"},
		{[]string{"--rw", "--upper", c.dir}, "--upper keeps the layer of an overlay"},
		{[]string{"--rw", "--ro"}, "only one of --ro, --overlay and --rw"},
		{[]string{"--arch", "arm64", "--emulator", "/bin/true"}, "emulator /bin/true: not a static program"},
		{[]string{"--net=token"}, `"token" is neither vector nor slirp`},
		{[]string{"--net=slirp"}, "--net: the kernel .* has no CONFIG_UML_NET_SLIRP"},
	} {
		r := c.run(t, nil, append(test.args, "--", "true")...)
		assert.Equal(t, 125, r.status, "%v", test.args)
		assert.Regexp(t, "^binproxy: uml.*"+test.want+".*\n$", r.stderr, "%v", test.args)
	}
	r := c.run(t, nil, "--", "/bin/none")
	assert.Equal(t, 127, r.status)
	assert.Regexp(t, `^binproxy: uml: /bin/none: .*no such file or directory in the root .*\n$`, r.stderr)
	r = c.run(t, nil, "--", "/etc/motd")
	assert.Equal(t, 126, r.status)
	assert.Regexp(t, `^binproxy: uml: /etc/motd: .*permission denied`, r.stderr)
}

// TestPoorHost runs where HOME is unset and /dev/shm and TMPDIR are of no use, and has what is chosen for the memory checked.
func TestPoorHost(t *testing.T) {
	c := one(t)
	unshare := need.Program(t, "unshare", "util-linux")
	run := func(script string, args ...string) result {
		inner := c.command(args...)
		flags := []string{"--mount", "--map-root-user", "sh", "-ec", script, "sh"}
		cmd := exec.Command(unshare, append(flags, inner.Args...)...)
		cmd.Dir, cmd.SysProcAttr, cmd.Env = inner.Dir, inner.SysProcAttr, []string{"PATH=/bin:/usr/bin:/usr/sbin:/sbin"}
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
	r = run(`mount -t tmpfs -o size=200m none /dev/shm; "$@"; s=$?; ls -A /dev/shm; exit $s`, "--memdir", "/dev/shm", "--", "cat", "/etc/motd")
	assert.Equal(t, result{0, "hello\n", ""}, r)
}

// TestPtraceRefused has a seccomp filter refuse ptrace.
func TestPtraceRefused(t *testing.T) {
	c := one(t)
	gcc := need.Program(t, "gcc", "gcc")
	program := filepath.Join(shared, "noptrace")
	out, err := exec.Command(gcc, "-o", program, "testdata/noptrace.c").CombinedOutput()
	require.NoError(t, err, string(out))
	defer os.Remove(program)
	inner := c.command("--", "true")
	cmd := exec.Command(program, inner.Args...)
	cmd.Dir, cmd.SysProcAttr, cmd.Env = inner.Dir, inner.SysProcAttr, inner.Env
	r := finish(t, cmd, nil)
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: ptrace is refused .*\n$`, r.stderr)
}

// TestKernelList shows what is found.
func TestKernelList(t *testing.T) {
	c := newCase(t, "debian", os.Geteuid())
	cmd := c.command()
	cmd.Args = []string{cmd.Path, "uml", "kernel", "list"}
	r := finish(t, cmd, nil)
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Regexp(t, `(?m)^6\.\S+\t/usr/bin/linux.uml$`, r.stdout)
	assert.Regexp(t, `(?m)^  overlay +as a module, in /usr/lib/uml/modules/6`, r.stdout)
	assert.Regexp(t, `(?m)^  vector +yes$`, r.stdout)
}
