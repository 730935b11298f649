// Package doctor checks `binproxy doctor` on restricted machines, and that `binproxy run` does
// what doctor says.
package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/entrypoint"
	"binproxy/emu/sys"
	"binproxy/test/lib/built"
	"binproxy/test/lib/mounts"
	"binproxy/test/lib/need"
)

type result struct{ Name, Answer, Reason, Change string }

type report struct {
	Host, Kernel string
	Machine      []result
	Guests       []struct {
		Arch      string
		Emulator  result
		Routes    []result
		Auto, Why string
	}
}

// bench is a bundle that any user may read, with no emulator in it, and a guest program.
type bench struct {
	t                         *testing.T
	binproxy, restrict, guest string
}

func newBench(t *testing.T) bench {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	b := bench{t, filepath.Join(dir, "binproxy"), filepath.Join(dir, "restrict"), filepath.Join(dir, "tiny")}
	text, err := os.ReadFile(built.Binproxy(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.binproxy, text, 0o755))
	require.NoError(t, os.WriteFile(b.guest, tiny.Program(arch.Get("aarch64")), 0o755))
	out, err := exec.Command("go", "build", "-o", b.restrict, "binproxy/test/lib/restrict").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return b
}

// run runs binproxy with the restrictions and gives its output and its status.
func (b bench) run(restrictions, env []string, args ...string) (stdout, stderr string, status int) {
	b.t.Helper()
	cmd := exec.Command(b.restrict, append(append(restrictions, b.binproxy), args...)...)
	cmd.Dir, cmd.Env = "/", append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	require.NotNil(b.t, cmd.ProcessState)
	require.NotEqual(b.t, 120, cmd.ProcessState.ExitCode(), "%s", errs.String())
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (b bench) doctor(restrictions, env []string) (report, int) {
	b.t.Helper()
	stdout, stderr, status := b.run(restrictions, env, "doctor", "--arch", "arm64", "--json")
	var r report
	require.NoError(b.t, json.Unmarshal([]byte(stdout), &r), "%s%s", stdout, stderr)
	require.Len(b.t, r.Guests, 1)
	return r, status
}

func find(t *testing.T, results []result, name string) result {
	t.Helper()
	for _, r := range results {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no result %q in %v", name, results)
	return result{}
}

func TestRestrictions(t *testing.T) {
	need.Emulator(t, "aarch64")
	need.Given(t, !sys.Supervised(), "a machine that is not supervised already")
	b := newBench(t)
	for _, c := range []struct {
		name         string
		restrictions []string
		env          []string
		root         bool
		machine      map[string]string // all that is not yes, and the start of its reason
		supervise    string            // the answer for the route
		auto         string
		warning      string // of run
		status       int    // of run
		diagnosis    int    // doctor's status
	}{
		{name: "none", supervise: "yes", auto: "supervise", status: tiny.Status},
		{name: "ptrace denied", restrictions: []string{"-deny", "ptrace"}, machine: map[string]string{"ptrace": "ptrace(PTRACE_SEIZE): operation not permitted"},
			supervise: "no", auto: "farm", warning: "the route supervise is refused: ptrace(PTRACE_SEIZE): operation not permitted", status: tiny.Status},
		{name: "no ptrace at all", restrictions: []string{"-deny", "ptrace", "-errno", "38"}, machine: map[string]string{"ptrace": "ptrace(PTRACE_SEIZE): function not implemented"},
			supervise: "no", auto: "farm", warning: "function not implemented", status: tiny.Status},
		{name: "seccomp denied", restrictions: []string{"-deny", "seccomp"}, machine: map[string]string{"seccomp filter": "seccomp(SECCOMP_SET_MODE_FILTER", "seccomp listener": "seccomp("},
			supervise: "no", auto: "farm", warning: "the route supervise is refused: seccomp(", status: tiny.Status},
		{name: "no listener", restrictions: []string{"-no-listener"}, machine: map[string]string{"seccomp listener": "seccomp("},
			supervise: "yes", auto: "supervise", status: tiny.Status},
		{name: "process_vm_readv denied", restrictions: []string{"-deny", "process_vm_readv"}, machine: map[string]string{"process_vm_readv": "process_vm_readv: operation not permitted"},
			supervise: "yes", auto: "supervise", status: tiny.Status},
		{name: "no user namespaces", restrictions: []string{"-deny", "userns"}, machine: map[string]string{"user namespaces": "clone(CLONE_NEWUSER|CLONE_NEWNS)"},
			supervise: "yes", auto: "supervise", status: tiny.Status},
		{name: "no memfd", restrictions: []string{"-deny", "memfd_create"}, supervise: "could not tell", auto: "supervise", status: tiny.Status},
		{name: "one processor", env: []string{"GOMAXPROCS=1"}, supervise: "yes", auto: "supervise", status: tiny.Status},
		{name: "ordinary user", restrictions: []string{"-user", "65534"}, root: true, supervise: "yes", auto: "supervise", status: tiny.Status},
		{name: "no emulator", env: []string{"PATH=/nowhere"}, supervise: "no", auto: "", status: 126, warning: "no emulator for aarch64", diagnosis: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := b
			b.t = t
			if c.root {
				need.Root(t)
			}
			r, status := b.doctor(c.restrictions, c.env)
			assert.Equal(t, c.diagnosis, status)
			for _, m := range r.Machine {
				if reason, refused := c.machine[m.Name]; refused {
					assert.Equal(t, "no", m.Answer, m.Name)
					assert.Contains(t, m.Reason, reason)
					assert.NotEmpty(t, m.Change, m.Name)
				} else if m.Name != "user namespaces" { // a machine may lack them anyway
					assert.Equal(t, "yes", m.Answer, "%v", m)
				}
			}
			guest := r.Guests[0]
			need.Given(t, find(t, guest.Routes, "kernel").Answer != "yes", "a host without an entry for arm64")
			assert.Equal(t, c.supervise, find(t, guest.Routes, "supervise").Answer, "%v", guest)
			assert.Equal(t, c.auto, guest.Auto, guest.Why)

			_, stderr, status := b.run(c.restrictions, c.env, "run", "--arch", "arm64", "--", b.guest)
			assert.Equal(t, c.status, status, stderr)
			if c.warning == "" {
				assert.Empty(t, stderr)
			} else {
				assert.Contains(t, stderr, c.warning)
			}
			if c.auto == "farm" {
				assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
			}
		})
	}
}

// What needs the supervisor, or asks for it, does not take the farm.
func TestNoWayAroundTheSupervisor(t *testing.T) {
	need.Emulator(t, "aarch64")
	b := newBench(t)
	for _, flags := range [][]string{{"--route", "supervise"}, {"--summary"}, {"--release", "4.15.0"}} {
		stdout, stderr, status := b.run([]string{"-deny", "ptrace"}, nil, append(append([]string{"run"}, flags...), "--", b.guest)...)
		assert.Equal(t, 125, status, "%v %s", flags, stdout)
		assert.Contains(t, stderr, "the route supervise is refused", "%v", flags)
	}
	// An identity of the environment or of a bundle is shown as far as the farm can.
	_, stderr, status := b.run([]string{"-deny", "ptrace"}, []string{"BINPROXY_RELEASE=4.15.0"}, "run", "--", b.guest)
	assert.Equal(t, tiny.Status, status, stderr)
	assert.Contains(t, stderr, "only they and uname are told the identity")
}

// The host runs i386 programs without an emulator: the kernel's route, unless something needs the
// supervisor.
func TestAutoTakesTheKernel(t *testing.T) {
	need.Given(t, arch.Host().Name == "x86_64", "an amd64 host")
	b := newBench(t)
	require.NoError(t, os.WriteFile(b.guest, tiny.Program(arch.Get("i386")), 0o755))
	for _, c := range []struct {
		flags []string
		route string
	}{
		{nil, "kernel"}, {[]string{"--summary"}, "supervise"}, {[]string{"--release", "4.15.0"}, "supervise"}, {[]string{"--route", "supervise"}, "supervise"},
	} {
		args := append(append([]string{"run", "--arch", "i386"}, c.flags...), "--", b.guest)
		_, stderr, status := b.run(nil, []string{"BINPROXY_DEBUG=1"}, args...)
		assert.Contains(t, stderr, "binproxy: route "+c.route+": ", "%v", c.flags)
		if c.route == "kernel" {
			assert.Equal(t, tiny.Status, status, stderr)
		}
	}
}

// Inside a supervised tree there is nothing to set up, and doctor says why there can be no second
// supervisor.
func TestInsideASupervisor(t *testing.T) {
	need.Emulator(t, "aarch64")
	b := newBench(t)
	_, stderr, status := b.run(nil, nil, "run", "--route", "supervise", "--", b.binproxy, "run", "--arch", "arm64", "--", b.guest)
	assert.Equal(t, tiny.Status, status, stderr)
	_, stderr, status = b.run(nil, nil, "run", "--route", "supervise", "--", b.binproxy, "run", "--summary", "--", b.guest)
	assert.Equal(t, 125, status)
	assert.Contains(t, stderr, "there can be no second")
	stdout, _, _ := b.run(nil, nil, "run", "--route", "supervise", "--", b.binproxy, "doctor", "--arch", "arm64")
	assert.Contains(t, stdout, "traces this process already")
	assert.Contains(t, stdout, "auto takes supervise: a supervisor already routes every exec of this process")
}

// An entry in binfmt_misc is the kernel's route: here the entry is in a user namespace's, which
// stands for a host's.
func TestAutoTakesAnEntry(t *testing.T) {
	emulator := need.Emulator(t, "aarch64")
	unshare := need.Program(t, "unshare", "util-linux")
	b := newBench(t)
	magic, mask := arch.Get("aarch64").Magic()
	line := filepath.Join(t.TempDir(), "line")
	text := fmt.Sprintf(":test-aarch64:M::%s:%s:%s:F", escape(magic), escape(mask), emulator)
	require.NoError(t, os.WriteFile(line, []byte(text), 0o644))
	inside := func(script string) (string, error) {
		const registered = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && cat $1 >/proc/sys/fs/binfmt_misc/register && "
		out, err := exec.Command(unshare, "-rm", "sh", "-c", registered+script, "sh", line, b.binproxy, b.guest).CombinedOutput()
		return string(out), err
	}
	if out, err := inside("true"); err != nil {
		need.Given(t, false, "a binfmt_misc in a user namespace (Linux 6.7): "+out)
	}
	for _, of := range []string{"--arch arm64", ""} {
		out, err := inside("BINPROXY_DEBUG=1 $2 run " + of + " -- $3")
		var status *exec.ExitError
		require.ErrorAs(t, err, &status, out)
		assert.Equal(t, tiny.Status, status.ExitCode())
		assert.Equal(t, "binproxy: route kernel: the host already runs the programs by itself\n", out)
	}
	out, err := inside("$2 doctor --arch arm64")
	require.NoError(t, err, out)
	assert.Contains(t, out, "auto takes kernel: ")
}

func escape(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return s.String()
}

// With a release of one's own, auto does not take the kernel's route, and doctor says so.
func TestReleaseNeedsTheSupervisor(t *testing.T) {
	need.Emulator(t, "i386")
	b := newBench(t)
	for _, c := range []struct {
		env  []string
		auto string
	}{{nil, "auto takes kernel"}, {[]string{"BINPROXY_RELEASE=4.15.0"}, "auto takes supervise: an identity of one's own needs the supervisor"}} {
		need.Given(t, arch.Host().Name == "x86_64", "an amd64 host")
		stdout, stderr, _ := b.run(nil, c.env, "doctor", "--arch", "i386")
		assert.Contains(t, stdout, c.auto, stderr)
	}
}

// doctor leaves nothing of its trials behind.
func TestLeavesNothingBehind(t *testing.T) {
	need.Emulator(t, "aarch64")
	b := newBench(t)
	mounts.Own(t)
	before := snapshot(t)
	_, stderr, status := b.run(nil, nil, "doctor", "--arch", "arm64")
	assert.Zero(t, status, stderr)
	assert.Equal(t, before, snapshot(t))
}

// snapshot is everything that a probe could leave: mounts, binfmt_misc entries, processes of the
// program's.
func snapshot(t *testing.T) []string {
	t.Helper()
	entries, _ := filepath.Glob("/proc/sys/fs/binfmt_misc/*")
	left := append([]string{mounts.List(t)}, entries...)
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range processes {
		if text, _ := os.ReadFile(p); strings.HasPrefix(string(text), "binproxy\x00"+string(entrypoint.Probe)+"\x00") {
			left = append(left, string(text))
		}
	}
	return left
}

// Whatever refuses the supervisor, the command that runs all the same has every file that it was
// given: the same as without us.
func TestRefusedKeepsFiles(t *testing.T) {
	b := newBench(t)
	input := filepath.Join(t.TempDir(), "input")
	require.NoError(t, os.WriteFile(input, []byte("input\n"), 0o644))
	run := func(argv ...string) string {
		cmd := exec.Command(b.restrict, argv...)
		cmd.Stdin = strings.NewReader("standard input\n")
		third, err := os.Open(input)
		require.NoError(t, err)
		defer third.Close()
		cmd.ExtraFiles = []*os.File{third}
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	command := []string{"/bin/sh", "-c", "cat; cat <&3; ls -l /proc/self/fd | sed -n 's/.* \\([0-9]* ->\\).*/\\1/p'"}
	for _, refused := range [][]string{{"-deny", "seccomp"}, {"-deny", "seccomp", "-errno", "38"}, {"-deny", "ptrace"}, {"-deny", "seccomp,userns"}, {"-deny", "ptrace,seccomp"}} {
		want := run(append(slices.Clone(refused), command...)...)
		require.Contains(t, want, "standard input\ninput\n")
		for _, how := range [][]string{nil, {"--keep-pid"}} {
			argv := slices.Concat(refused, []string{b.binproxy, "run"}, how, []string{"--"}, command)
			assert.Equal(t, want, run(argv...), "%v %v", refused, how)
		}
	}
}

// A limit of processes that leaves no room for our threads (a container's --pids-limit, ulimit -u)
// is one line, on each route and wherever the room ends; with more room the command runs.
func TestProcessLimitOfRoutes(t *testing.T) {
	need.Root(t)
	need.Emulator(t, "aarch64")
	b := newBench(t)
	user := 1<<20 + os.Getpid()<<8
	run := func(limit int, how []string) (status int, said string) {
		user++ // whose processes count: none, also of the run before
		argv := slices.Concat([]string{"-user", strconv.Itoa(user), need.Program(t, "prlimit", "util-linux"), "--nproc=" + strconv.Itoa(limit), b.binproxy, "run"}, how, []string{"--", b.guest})
		out, err := exec.Command(b.restrict, argv...).CombinedOutput()
		require.ErrorAs(t, err, new(*exec.ExitError), "%s", out)
		return err.(*exec.ExitError).ExitCode(), string(out)
	}
	for _, how := range [][]string{nil, {"--keep-pid"}, {"--route", "userns"}} {
		for _, limit := range []int{6, 8, 10, 12, 14, 17, 20} {
			status, said := run(limit, how)
			if status == tiny.Status && limit > 10 {
				continue
			}
			assert.Equal(t, 125, status, "%v %d", how, limit)
			assert.Regexp(t, `\Abinproxy: the limit of processes .*: raise it\n\z`, said, "%v %d", how, limit)
		}
		status, said := run(40, how)
		assert.Equal(t, tiny.Status, status, "%v: %s", how, said)
	}
}
