package uml

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/uml"
	"binproxy/test/lib/need"
)

// panics is a kernel that this machine does not run: it has a release, and ends when it boots.
const panics = `#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return puts("99.1.2") < 0;
	if (argc == 2 && strcmp(argv[1], "--showconfig") == 0)
		return puts("CONFIG_HOSTFS=y") < 0;
	puts("userspace - ptrace set fp regs failed, errno = 14");
	puts("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b");
	return 134;
}
`

// A kernel that does not boot here is known by a trial: the list and doctor say so, a run chooses
// another, and one that asks for it is refused.
func TestTrial(t *testing.T) {
	c := one(t)
	gcc := need.Program(t, "gcc", "gcc")
	kernels := filepath.Join(c.dir, "cache/binproxy/uml")
	bad, good := filepath.Join(kernels, "99.1.2/linux"), filepath.Join(kernels, "1.0.0/linux")
	source := filepath.Join(c.dir, "panics.c")
	require.NoError(t, os.WriteFile(source, []byte(panics), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Dir(bad), 0o755))
	tool(t, gcc, "-static", "-o", bad, source)
	require.NoError(t, os.CopyFS(filepath.Dir(good), os.DirFS(filepath.Dir(c.kernel))))
	for _, dir := range []string{c.dir + "/cache", c.dir + "/cache/binproxy", kernels} {
		require.NoError(t, os.Chown(dir, c.uid, c.uid))
	}
	command := func(args ...string) *exec.Cmd {
		cmd := c.command()
		cmd.Args = append([]string{cmd.Path}, args...)
		cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+c.dir+"/cache")
		return cmd
	}
	binproxy := func(args ...string) result { return finish(t, command(args...), nil) }
	why := `did not boot here: it ended with status 134 and the words "userspace - ptrace set fp regs failed, errno = 14\\nKernel panic .*"`
	run := []string{"uml", "run", "--root", filepath.Join(shared, "root"), "--"}

	k, err := uml.Open(c.kernel)
	require.NoError(t, err)
	r := binproxy(append(run, "uname", "-r")...)
	assert.Equal(t, result{0, k.Release + "\n", ""}, r, "the newest does not boot")
	list := binproxy("uml", "kernel", "list")
	assert.Regexp(t, `(?m)^99\.1\.2\t`+bad+`\n  runs here +no: `+why+`; get a newer one with binproxy uml kernel build, or binproxy uml kernel fetch$`, list.stdout)
	assert.Regexp(t, `(?m)\t`+good+`\n  runs here +yes$`, list.stdout)
	r = binproxy("uml", "run", "--kernel", "99.1.2", "--", "true")
	assert.Equal(t, 125, r.status)
	assert.Regexp(t, `^binproxy: uml: kernel `+bad+` \(99\.1\.2\): `+why+` \(binproxy uml kernel list tries it again\); get a newer one .*\n$`, r.stderr)

	r = binproxy("doctor", "--arch", "arm64", "--json")
	var doctor struct {
		Kernels []struct{ Name, Answer, Reason string }
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &doctor), r.stderr)
	require.GreaterOrEqual(t, len(doctor.Kernels), 2)
	assert.Equal(t, "kernel 99.1.2 no", doctor.Kernels[0].Name+" "+doctor.Kernels[0].Answer)
	assert.Regexp(t, why, doctor.Kernels[0].Reason)
	assert.Equal(t, "kernel "+k.Release+" yes", doctor.Kernels[1].Name+" "+doctor.Kernels[1].Answer)
}

// Where ptrace is refused, or another program traces already, the seccomp mode runs the same
// commands; so it does in a container's namespaces. A kernel cannot run anything by ptrace in the
// first two, and so it is this mode that runs them.
func TestSeccompMode(t *testing.T) {
	need.Long(t) // the short run may have no kernel with this mode
	c := one(t)
	restrict := filepath.Join(c.dir, "restrict")
	tool(t, "go", "build", "-o", restrict, "binproxy/test/lib/restrict")
	unshare := need.Program(t, "unshare", "util-linux")
	binproxy := c.command().Path
	for name, before := range map[string][]string{
		"alone":             nil,
		"ptrace refused":    {restrict, "-deny", "ptrace"},
		"in a tree":         {binproxy, "run", "--"},
		"in a user's space": {unshare, "--map-root-user", "--mount", "--pid", "--fork", "--net"},
	} {
		t.Run(name, func(t *testing.T) {
			script := `cat /etc/motd; id -u; i=0; while [ $i -lt 20 ]; do ls / >/dev/null || exit 3; i=$((i+1)); done; exit 7`
			inner := c.command("--seccomp", "--", "sh", "-c", script)
			argv := append(before, inner.Args...)
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir, cmd.SysProcAttr, cmd.Env = inner.Dir, inner.SysProcAttr, inner.Env
			assert.Equal(t, result{7, "hello\n0\n", ""}, finish(t, cmd, nil))
		})
	}
}

// Words of the caller's come last on the kernel's command line, whether the kernel knows them or
// not, and none of them keeps it from its PID 1.
func TestAppend(t *testing.T) {
	c := one(t)
	out := c.sh(t, "cat /proc/cmdline", "--append", "loglevel=3 unknown", "--append", "a.b=c x=y --  last")
	assert.Regexp(t, ` loglevel=3 unknown a\.b=c x=y -- last( |\n)`, out)
}
