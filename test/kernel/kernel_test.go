// Package kernel tests the applet of that name on the running kernel, with C programs, guests and
// Debian's files.
package kernel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/entrypoint"
	"binproxy/emu/kernel"
	denial "binproxy/emu/kernel/record"
	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/need"
)

// compiled is a C program of testdata.
func compiled(t testing.TB, name string) string {
	t.Helper()
	gcc := need.Program(t, "gcc", "gcc")
	path := filepath.Join(t.TempDir(), name)
	out, err := exec.Command(gcc, "-O1", "-Wall", "-Wno-unused-result", "-o", path, filepath.Join("testdata", name+".c")).CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// run gives the standard output and the exit status of a command.
func run(t testing.TB, stdin string, argv ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		require.NoError(t, err)
	}
	if errors.Len() > 0 {
		t.Log(errors.String())
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// runAs runs a command under an older kernel.
func runAs(t testing.TB, release, stdin string, argv ...string) (string, int) {
	t.Helper()
	return run(t, stdin, append([]string{built.Binproxy(t), "kernel", "run", "--as", release, "--"}, argv...)...)
}

// here reports whether the running kernel's release is at least this one.
func here(t testing.TB, release string) bool {
	t.Helper()
	name, err := os.ReadFile("/proc/sys/kernel/osrelease")
	require.NoError(t, err)
	host, err := releaseOf(strings.TrimSpace(string(name)))
	require.NoError(t, err)
	wanted, err := releaseOf(release)
	require.NoError(t, err)
	return host >= wanted
}

// releaseOf is the mainline release of a release's text.
func releaseOf(text string) (kernel.Version, error) {
	r, err := kernel.Parse(text)
	return r.Base, err
}

// The article's four programs, on a mainline 3.10, on CentOS 7's kernel and on a newer one.
func TestArticlePrograms(t *testing.T) {
	need.Given(t, here(t, "5.14"), "a kernel with pidfd_open (5.3 or later)")
	random, pidfd := compiled(t, "getrandom"), compiled(t, "pidfd")
	const lacks, centos7 = ": Function not implemented\n", "3.10.0-1160.71.1.el7.x86_64"
	for _, c := range []struct {
		release string
		argv    []string
		want    string
		status  int
	}{
		{"3.10", []string{random}, "getrandom" + lacks, 1},
		{centos7, []string{random}, "getrandom: 16 bytes\n", 0},
		{"5.14", []string{random}, "getrandom: 16 bytes\n", 0},
		{"3.10", []string{pidfd, "open"}, "pidfd_open" + lacks, 1},
		{centos7, []string{pidfd, "open"}, "pidfd_open" + lacks, 1},
		{"5.14", []string{pidfd, "open"}, "pidfd_open: a descriptor\n", 0},
		{"3.10", []string{pidfd, "poll"}, "pidfd_open" + lacks, 1},
		{centos7, []string{pidfd, "poll"}, "pidfd_open" + lacks, 1},
		{"5.14", []string{pidfd, "poll"}, "pidfd_open: poll says 0x1\n", 0},
		{"3.10", []string{pidfd, "signal"}, "pidfd_send_signal" + lacks, 1},
		{centos7, []string{pidfd, "signal"}, "pidfd_send_signal" + lacks, 1},
		{"rhel8.5", []string{pidfd, "signal"}, "pidfd_send_signal" + lacks, 1},
		{"rhel8.6", []string{pidfd, "signal"}, "pidfd_send_signal: ended by signal 15\n", 0},
		{"5.14", []string{pidfd, "signal"}, "pidfd_send_signal: ended by signal 15\n", 0},
	} {
		out, status := runAs(t, c.release, "", c.argv...)
		require.Equal(t, c.want, out, "%s %v", c.release, c.argv)
		require.Equal(t, c.status, status, "%s %v", c.release, c.argv)
		if strings.HasSuffix(c.want, lacks) {
			continue
		}
		out, _ = run(t, "", c.argv...)
		require.Equal(t, c.want, out, "native %v", c.argv)
	}
}

// Every place where a program can read the release shows it.
func TestReleaseEverywhere(t *testing.T) {
	const release = "3.10.0-1160.71.1.el7.x86_64"
	python := need.Program(t, "python3", "python3")
	script := "import os, platform\nprint(os.uname().release)\nprint(platform.release())\nprint(open('/proc/sys/kernel/osrelease').read().strip())\n" +
		"print(open('/proc/version').read().split()[2])"
	out, status := runAs(t, release, "", "sh", "-c", "uname -r; exec "+python+` -c "$0"`, script)
	require.Zero(t, status)
	require.Equal(t, strings.Repeat(release+"\n", 5), out)
}

func TestPythonOnCentOS7(t *testing.T) {
	python := need.Program(t, "python3", "python3")
	out, status := runAs(t, "el7", "", python, "-c", "import os\ntry: os.pidfd_open(os.getpid())\nexcept OSError as e: print(e)\nprint(len(os.getrandom(4)))")
	require.Equal(t, "[Errno 38] Function not implemented\n4\n", out)
	require.Zero(t, status)
}

// abis are the host's ABIs by the names of the program ask.
func abis() map[string]string {
	if arch.Host().Name == "x86_64" {
		return map[string]string{"64": "x86_64", "x32": "x32", "i386": "i386"}
	}
	return map[string]string{"64": arch.Host().Name}
}

// On the running kernel, for every ABI of the host: each number that a release lacks answers
// ENOSYS, and so does a number above the newest.
func TestEveryLackingNumber(t *testing.T) {
	ask := compiled(t, "ask")
	for _, release := range []string{"3.10", "el7", "4.4", "rhel8.4", "5.10"} {
		r, err := kernel.Parse(release)
		require.NoError(t, err)
		var questions strings.Builder
		count := 0
		for word, name := range abis() {
			for nr := uint32(0); nr < 600; nr++ {
				if !has(r, kernel.Get(name), nr) && !unfiltered(kernel.Get(name), nr) {
					fmt.Fprintf(&questions, "%s %d -1 -1 -1 -1 -1 -1\n", word, nr)
					count++
				}
			}
			fmt.Fprintf(&questions, "%s 1000000 0 0 0 0 0 0\n", word)
		}
		out, status := runAs(t, release, questions.String(), ask)
		require.Zero(t, status)
		require.Equal(t, strings.Repeat("38\n", count+len(abis())), out, release)
	}
}

// unfiltered reports whether no filter can deny a call.
func unfiltered(a *kernel.ABI, nr uint32) bool {
	for _, c := range a.ByNumber(nr) {
		if a.Name == "x86_64" && slices.Contains(kernel.Unfiltered[:], c.Name) {
			return true
		}
	}
	return false
}

func has(r kernel.Release, a *kernel.ABI, nr uint32) bool {
	for _, c := range a.ByNumber(nr) {
		if r.Has(c).Has {
			return true
		}
	}
	return false
}

type probed struct {
	Calls []struct {
		Nr                          uint32
		ABI, Name, State, Errno, By string
	}
	Lacking       []struct{ ABI, Why string }
	Seccomp       struct{ Mode string }
	Disagreements []struct{ Name, Why string }
}

func probe(t testing.TB, argv ...string) probed {
	t.Helper()
	out, status := run(t, "", append(argv, built.Binproxy(t), "kernel", "probe", "--json")...)
	require.Zero(t, status)
	var p probed
	require.NoError(t, json.Unmarshal([]byte(out), &p))
	return p
}

// Under an older kernel, a probe finds exactly the calls of the running one that the older one
// has.
func TestProbeUnderOlderKernel(t *testing.T) {
	native := map[string]string{}
	for _, c := range probe(t).Calls {
		native[c.ABI+" "+c.Name] = c.State
	}
	for _, release := range []string{"3.10", "el7", "5.4"} {
		r, err := kernel.Parse(release)
		require.NoError(t, err)
		for _, c := range probe(t, built.Binproxy(t), "kernel", "run", "--as", release, "--").Calls {
			want := native[c.ABI+" "+c.Name]
			if !has(r, kernel.Get(c.ABI), c.Nr) && want != "unasked" && !unfiltered(kernel.Get(c.ABI), c.Nr) {
				want = "absent"
			}
			if c.By == "filter or kernel" {
				// the kernel's own EPERM, which a process with a filter cannot tell from the
				// filter's
				c.State = "present"
			}
			require.Equal(t, want, c.State, "%s %s %s", release, c.ABI, c.Name)
		}
	}
}

// hazards are calls that do something with arguments of -1, or answer ENOSYS to them although they
// exist. The peer leaves them out, except for those with arguments here.
var hazards = map[string]string{"futex": "0 1 0 0 0 0", "futex_time64": "0 1 0 0 0 0", "modify_ldt": "0 0 0 0 0 0", "msgget": "1 0 0 0 0 0", "semget": "1 0 0 0 0 0", "shmget": "1 0 0 0 0 0",
	"kill": "0x40000000 0 0 0 0 0", "ipc": "1 -1 -1 -1 -1 -1", "exit": "", "pause": "", "sigsuspend": "", "sync": "", "vfork": "", "fork": "", "rt_sigreturn": "",
	"sigreturn": "", "exit_group": "", "uretprobe": ""}

// The probe's answers equal those of a direct call of every syscall in the tables, from C, in
// every ABI that the kernel serves.
func TestProbeAgainstDirectCalls(t *testing.T) {
	ask := compiled(t, "ask")
	var questions strings.Builder
	var asked []string
	states := map[string]string{}
	p := probe(t)
	words := map[string]string{}
	for word, abi := range abis() {
		words[abi] = word
	}
	for _, lacking := range p.Lacking {
		out, _ := run(t, fmt.Sprintf("%s %d 0 0 0 0 0 0\n", words[lacking.ABI], kernel.Get(lacking.ABI).ByName("getpid")[0].Nr), ask)
		require.Contains(t, []string{"38\n", "ended\n"}, out, "getpid of %s, which the probe says is not served", lacking.ABI)
		delete(words, lacking.ABI)
	}
	for _, c := range p.Calls {
		args, hazard := hazards[c.Name]
		if !hazard {
			args = "-1 -1 -1 -1 -1 -1"
		}
		if args != "" {
			fmt.Fprintf(&questions, "%s %d %s\n", words[c.ABI], c.Nr, args)
			asked, states[c.ABI+" "+c.Name] = append(asked, c.ABI+" "+c.Name), c.State
		}
	}
	out, status := run(t, questions.String(), ask)
	require.Zero(t, status)
	answers := strings.Fields(out)
	require.Len(t, answers, len(asked))
	require.Greater(t, len(asked), 300*len(words))
	for i, name := range asked {
		require.Equal(t, states[name] == "absent", answers[i] == "38", "%s answers %s, the probe says %s", name, answers[i], states[name])
	}
}

// util-linux's enosys denies calls by name; our filter gives a program the same answers.
func TestAgainstEnosys(t *testing.T) {
	need.Given(t, arch.Host().Name == "x86_64", "an amd64 host")
	tool := filepath.Join(debs.Unpacked(t, "trixie", "util-linux-extra"), "usr/bin/enosys")
	lib := filepath.Join(debs.Unpacked(t, "trixie", "libc6"), "usr/lib/x86_64-linux-gnu")
	ask := compiled(t, "ask")
	abi := kernel.Get("x86_64")
	for _, name := range []string{"getrandom", "pidfd_open", "statx", "clone3", "memfd_create"} {
		var questions strings.Builder
		for _, c := range abi.Calls() {
			if _, hazard := hazards[c.Name]; !hazard && !c.Never() && c.Nr > 313 {
				fmt.Fprintf(&questions, "64 %d -1 -1 -1 -1 -1 -1\n", c.Nr)
			}
		}
		nr := abi.ByName(name)[0].Nr
		argv, err := entrypoint.Argv(entrypoint.Deny, &denial.Denial{Key: denial.Key{Audit: arch.Get("x86_64").Audit(), Nr: nr}, Errno: syscall.ENOSYS, Path: ask, Argv: []string{"ask"}})
		require.NoError(t, err)
		theirs, _ := run(t, questions.String(), filepath.Join(lib, "ld-linux-x86-64.so.2"), "--library-path", lib, tool, "--syscall", name, ask)
		ours, _ := run(t, questions.String(), append([]string{built.Binproxy(t)}, argv[1:]...)...)
		require.NotEmpty(t, theirs)
		require.Equal(t, theirs, ours, name)
		require.Contains(t, ours, "38\n")
	}
}

// The filter judges a guest's calls, the emulator's own go on, and the guest sees the release.
func TestGuest(t *testing.T) {
	need.Given(t, here(t, "5.14"), "a kernel with pidfd_open (5.3 or later)")
	need.Emulator(t, "aarch64")
	guest := filepath.Join(t.TempDir(), "guest")
	build := exec.Command("go", "build", "-o", guest, "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=arm64")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	for release, want := range map[string]string{
		"3.10":                        "release 3.10.0\ngetrandom ENOSYS\nmemfd_create ENOSYS\npidfd_open ENOSYS\npidfd_send_signal ENOSYS\nclose_range ENOSYS\nstatx ok\n",
		"3.10.0-1160.71.1.el7.x86_64": "release 3.10.0-1160.71.1.el7.x86_64\ngetrandom ok\nmemfd_create ok\npidfd_open ENOSYS\npidfd_send_signal ENOSYS\nclose_range ENOSYS\nstatx ok\n",
		"rhel8.6":                     "release 4.18.0-372.el8.aarch64\ngetrandom ok\nmemfd_create ok\npidfd_open ENOSYS\npidfd_send_signal EBADF\nclose_range ok\nstatx ok\n",
		"5.14":                        "release 5.14.0\ngetrandom ok\nmemfd_create ok\npidfd_open ok\npidfd_send_signal ok\nclose_range ok\nstatx ok\n",
	} {
		out, status := runAs(t, release, "", guest)
		require.Zero(t, status)
		require.Equal(t, want, out, release)
	}
}

// TestTracedAlready has everything that traces say who is in its way, where that is another
// tracer.
func TestTracedAlready(t *testing.T) {
	binproxy := built.Binproxy(t)
	strace := []string{need.Program(t, "strace", "strace"), "-f", "-o", os.DevNull, binproxy}
	record := []string{"kernel", "record", "--once", "--", "true"}
	for by, argv := range map[string][]string{
		"binproxy": slices.Concat([]string{binproxy, "run", "--", binproxy}, record),
		"strace":   slices.Concat(strace, record),
		"strace ":  append(strace[:len(strace):len(strace)], "run", "--route", "supervise", "--", "true"),
		"strace (": append(strace[:len(strace):len(strace)], "doctor", "--arch", "s390x"),
	} {
		said, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		require.Regexp(t, `traced\s+already,\s+by\s+`+regexp.QuoteMeta(by), string(said), "%q", argv)
	}
}
