// Package spoof reads the uname identity from every source that shows it, with programs of several
// kinds, with an identity and without.
package spoof

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/identity"
	"binproxy/test/lib/built"
	"binproxy/test/lib/cross"
	"binproxy/test/lib/mounts"
	"binproxy/test/lib/need"
)

// other is the identity for the programs. 4.15 is below every kernel that can run the tests.
var other = identity.Identity{
	Sysname: "Minux", Nodename: "node.example", Release: "4.15.0-112-generic",
	Version: "#113-Ubuntu SMP Thu Jul 9 23:41:39 UTC 2020", Machine: "armv7l",
}

func flags(proc string) []string {
	return []string{"run", "--proc", proc, "--release", other.Release, "--kernel-version", other.Version, "--sysname", other.Sysname,
		"--nodename", other.Nodename, "--machine", other.Machine}
}

// nobody is an ordinary user.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

// output runs a command, as another user if that is given, and expects nothing on stderr.
func output(t *testing.T, user *syscall.Credential, command ...string) string {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	err := cmd.Run()
	require.NoError(t, err, "%s: %s", command, errs.String())
	require.Empty(t, errs.String(), "%s", command)
	return out.String()
}

// public makes a directory that every user may enter, with a copy of binproxy in it.
func public(t *testing.T) (dir, binproxy string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "spoof")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	text, err := os.ReadFile(built.Binproxy(t))
	require.NoError(t, err)
	binproxy = filepath.Join(dir, "binproxy")
	require.NoError(t, os.WriteFile(binproxy, text, 0o755))
	return dir, binproxy
}

// check compares a program's output with the identity to its output without: it has to have the
// same sources, and the identity everywhere. emulated is for a guest, whose machine is the
// emulator's.
func check(t *testing.T, truth, got string, emulated bool) {
	t.Helper()
	kernel, err := identity.Kernel()
	require.NoError(t, err)
	want := lines(truth)
	have := lines(got)
	require.Len(t, have, len(want), "%s\n%s", truth, got)
	for i, line := range want {
		field, way, value := line[0], line[1], line[2]
		name := field + " by " + way
		require.Equal(t, name, have[i][0]+" by "+have[i][1])
		switch field {
		case "banner":
			builder := strings.TrimSuffix(strings.TrimPrefix(value, kernel.Sysname+" version "+kernel.Release+" "), kernel.Version)
			value = other.Sysname + " version " + other.Release + " " + builder + other.Version
		case "signature":
			value = "Ubuntu " + other.Release + " 4.15.0"
		case "code":
			value = "4.15.0"
		case "salt":
			value = other.Release[:min(len(other.Release), len(value))]
		case "config":
			value = "# " + strings.Fields(value)[1] + " " + other.Release + " Kernel Configuration"
		case "options":
		default:
			value = fieldOf(field)
			if emulated && field == "machine" && !strings.HasPrefix(way, "/") {
				value = line[2]
			}
			if way == "oldolduname" {
				value = value[:min(len(value), 8)]
			}
		}
		require.Equal(t, value, have[i][2], name)
	}
}

func fieldOf(key string) string {
	id := other
	for _, f := range identity.Fields {
		if f.Key == key {
			return *f.Of(&id)
		}
	}
	return "no such field: " + key
}

func lines(text string) [][3]string {
	var list [][3]string
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if len(parts) == 3 {
			list = append(list, [3]string(parts))
		}
	}
	return list
}

// program is a program that reads sources. A guest's needs its emulator.
type program struct {
	name string
	path string
	qemu string // QEMU's name of a guest's architecture
	min  int    // how many sources it must read at least
}

func programs(t *testing.T, dir string) []program {
	list := []program{}
	for _, p := range []program{
		{"Go", "amd64", "", 40}, {"Go, 32-bit", "386", "", 50},
		{"Go, arm64 guest", "arm64", "aarch64", 35}, {"Go, arm guest", "arm", "arm", 35},
	} {
		goarch := p.path
		p.path = filepath.Join(dir, goarch)
		if _, err := os.Stat(p.path); err != nil {
			built.Guest(t, goarch, "./testdata/sources", p.path)
		}
		list = append(list, p)
	}
	gcc := need.Program(t, "gcc", "gcc")
	for name, flag := range map[string]string{"static": "-static", "dynamic": "-pie"} {
		path := filepath.Join(dir, name)
		out, err := exec.Command(gcc, "-O1", flag, "-o", path, "testdata/sources.c").CombinedOutput()
		require.NoError(t, err, string(out))
		list = append(list, program{"C, " + name, path, "", 6})
	}
	// Go's own i386 programs do not run under QEMU 7.2.
	i386, path := arch.Get("i386"), filepath.Join(dir, "i386")
	cross.Compile(t, i386, "testdata/sources.c", path, cross.SelfContained(t, i386)...)
	return append(list, program{"C, i386", path, "", 6}, program{"C, i386 guest", path, "i386", 6})
}

// TestSources is the table of docs/uname.md.
func TestSources(t *testing.T) {
	dir, binproxy := public(t)
	type mode struct {
		name, proc string
		user       *syscall.Credential
		prefix     []string
	}
	modes := []mode{{"traced", "trace", nil, nil}}
	if os.Geteuid() == 0 {
		setpriv := need.Program(t, "setpriv", "util-linux")
		docker := []string{setpriv, "--no-new-privs", "--bounding-set", "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write"}
		modes = append(modes, mode{"mounts", "auto", nil, nil}, mode{"traced for a user", "auto", nobody, nil},
			mode{"traced with the capabilities of a docker build", "auto", nil, docker})
	}
	for _, p := range programs(t, dir) {
		t.Run(p.name, func(t *testing.T) {
			run := []string{binproxy, "run"}
			var guest []string
			if p.qemu != "" {
				arch := p.qemu
				if arch == "arm" {
					arch = "armhf,armel" // Go's programs do not show which
				}
				guest = []string{"--arch", arch, "--emulator", p.qemu + "=" + need.Emulator(t, p.qemu)}
			}
			for _, m := range modes {
				t.Run(m.name, func(t *testing.T) {
					truth := output(t, m.user, concat(m.prefix, run, guest, []string{"--", p.path})...)
					if p.qemu == "" {
						require.Equal(t, output(t, m.user, concat(m.prefix, []string{p.path})...), truth, "not told, it says what it says alone")
					}
					require.GreaterOrEqual(t, len(lines(truth)), p.min, truth)
					got := output(t, m.user, concat(m.prefix, []string{binproxy}, flags(m.proc), guest, []string{"--", p.path})...)
					check(t, truth, got, p.qemu != "")
				})
			}
		})
	}
}

func concat(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// Everyday programs read the identity in their own ways.
func TestPrograms(t *testing.T) {
	_, binproxy := public(t)
	python := need.Program(t, "python3", "python3-minimal")
	sysctl := need.Program(t, "sysctl", "procps")
	setarch := need.Program(t, "setarch", "util-linux")
	procs := []string{"trace"}
	if os.Geteuid() == 0 {
		procs = append(procs, "auto")
	}
	for _, proc := range procs {
		for _, c := range []struct {
			want    string
			command []string
		}{
			{other.Release, []string{"uname", "-r"}},
			{strings.Join([]string{other.Sysname, other.Nodename, other.Release, other.Version, other.Machine}, " "), []string{"uname", "-snrvm"}},
			{other.Machine, []string{setarch, "linux32", "uname", "-m"}},
			{other.Release, []string{setarch, "--uname-2.6", "uname", "-r"}},
			{other.Nodename, []string{python, "-c", "import socket; print(socket.gethostname())"}},
			{other.Release, []string{python, "-c", "import os; print(os.uname().release)"}},
			{other.Release, []string{python, "-c", "import os; os.posix_spawn('/bin/uname', ['uname', '-r'], {}); os.wait()"}},
			{other.Release, []string{python, "-c", "import os, threading as t; x = t.Thread(target=lambda: print(os.uname().release)); x.start(); x.join()"}},
			{"kernel.osrelease = " + other.Release, []string{sysctl, "kernel.osrelease"}},
			{other.Version, []string{"cat", "/proc/sys/kernel/version"}},
			{other.Release, []string{"env", "-i", "/bin/sh", "-c", "read r < /proc/sys/kernel/osrelease; echo $r"}},
			{other.Release, []string{"sh", "-c", "cd /proc/sys; exec 7<kernel/osrelease; cat <&7"}},
		} {
			require.Equal(t, c.want+"\n", output(t, nil, concat([]string{binproxy}, flags(proc), []string{"--"}, c.command)...), "--proc %s %q", proc, c.command)
		}
	}
}

// A tracer without CAP_SYS_PTRACE cannot read a process that changed its ids. The process still
// sees the identity, and is as it was afterwards.
func TestUndumpable(t *testing.T) {
	need.Root(t)
	_, binproxy := public(t)
	python := need.Program(t, "python3", "python3-minimal")
	setpriv := need.Program(t, "setpriv", "util-linux")
	const script = `
import ctypes, os
os.setuid(65534)
dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
before = dumpable()
print(os.uname().release, before, dumpable())
`
	got := output(t, nil, concat([]string{setpriv, "--bounding-set", "-sys_ptrace,-sys_admin", binproxy}, flags("no"), []string{"--", python, "-c", script})...)
	require.Equal(t, other.Release+" 0 0\n", got)
}

// Its opens are looked at as well: of a file with the identity, of others, and of missing ones.
func TestUndumpableOpens(t *testing.T) {
	need.Root(t)
	_, binproxy := public(t)
	python := need.Program(t, "python3", "python3-minimal")
	setpriv := need.Program(t, "setpriv", "util-linux")
	const script = `
import ctypes, os, sys
exec(sys.argv[1])
dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
before = dumpable()
told = [open("/proc/sys/kernel/" + name).read().strip() for name in ("osrelease", "version")]
fd = os.open("/proc/version", os.O_RDONLY | os.O_CLOEXEC)
kept = os.get_inheritable(fd), told[0] in os.read(fd, 999).decode()
missing = os.path.exists("/proc/version") and not os.path.exists("/nowhere")
try: open("/nowhere")
except FileNotFoundError: print(*told, *kept, missing, open("/etc/hostname").read() != "", before, dumpable())
`
	for change, dumpable := range map[string]string{"os.setresuid(1, 1, 1)": "0 0", "os.seteuid(1)": "0 0", "ctypes.CDLL(None).prctl(4, 0)": "0 0", "pass": "1 1"} {
		got := output(t, nil, concat([]string{setpriv, "--bounding-set", "-sys_ptrace,-sys_admin", binproxy}, flags("auto"), []string{"--", python, "-c", script, change})...)
		require.Equal(t, other.Release+" "+other.Version+" False True True True "+dumpable+"\n", got, change)
	}
}

// Without the privilege to mount, the files are traced, unless they should tell the truth; all
// else shows the identity.
func TestNoPrivilege(t *testing.T) {
	var user *syscall.Credential
	if os.Geteuid() == 0 {
		user = nobody
	}
	_, binproxy := public(t)
	kernel, err := identity.Kernel()
	require.NoError(t, err)
	for proc, file := range map[string]string{"auto": other.Release, "no": kernel.Release} {
		got := output(t, user, concat([]string{binproxy}, flags(proc), []string{"--", "sh", "-c", "uname -r; cat /proc/sys/kernel/osrelease"})...)
		require.Equal(t, other.Release+"\n"+file+"\n", got)
	}
}

// Only the command sees the mounts, and nothing of them stays.
func TestMountsStayInside(t *testing.T) {
	need.Root(t)
	_, binproxy := public(t)
	mounts.Own(t)
	before := mounts.List(t)
	inside := output(t, nil, concat([]string{binproxy}, flags("auto"), []string{"--", "cat", "/proc/self/mountinfo"})...)
	require.Contains(t, inside, "/proc/sys/kernel/osrelease ro")
	list := []string{"ls", "/proc/fs"}
	require.Equal(t, output(t, nil, list...), output(t, nil, concat([]string{binproxy}, flags("auto"), []string{"--"}, list)...), "no path leads to the scratch directory")
	require.Equal(t, before, mounts.List(t))
}

// The files cannot be written, as the kernel's cannot.
func TestReadOnly(t *testing.T) {
	need.Root(t)
	_, binproxy := public(t)
	for _, proc := range []string{"auto", "trace"} {
		const script = "(echo x > /proc/version) 2>/dev/null && echo written; (echo x > /proc/sys/kernel/osrelease) 2>/dev/null && echo written; cat /proc/sys/kernel/osrelease"
		require.Equal(t, other.Release+"\n", output(t, nil, concat([]string{binproxy}, flags(proc), []string{"--", "sh", "-c", script})...), proc)
	}
}

// A release above the kernel's is shown, with one warning.
func TestAbove(t *testing.T) {
	_, binproxy := public(t)
	kernel, err := identity.Kernel()
	require.NoError(t, err)
	cmd := exec.Command(binproxy, "run", "--release", "99.1", "--", "sh", "-c", "uname -r; uname -r")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "99.1\n99.1\n", string(out))
	require.Regexp(t, "^binproxy: run: release 99.1 (promises calls that|is above) the running kernel('s)? .*"+regexp.QuoteMeta("("+kernel.Release+")")+".*\n$", errs.String())
}

// The place where a field is set counts: the command line, then the environment, then the bundle.
func TestPlaces(t *testing.T) {
	dir, binproxy := public(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "binproxy.conf"), []byte("release 4.14.0\nversion #4 SMP\nnodename conf\n"), 0o644))
	require.Equal(t, "conf 4.14.0 #4 SMP\n", output(t, nil, binproxy, "run", "--", "uname", "-nrv"))
	require.Equal(t, "conf 4.13.0 #1 SMP\n", output(t, nil, "env", "BINPROXY_RELEASE=4.13.0", binproxy, "run", "--", "uname", "-nrv"))
	require.Equal(t, "flag 4.12.0 #1 SMP\n", output(t, nil, "env", "BINPROXY_RELEASE=4.13.0", binproxy, "run", "--release", "4.12.0", "--nodename", "flag", "--", "uname", "-nrv"))
	cmd := exec.Command(binproxy, "run", "--proc", "often", "--", "true")
	out, err := cmd.CombinedOutput()
	require.ErrorContains(t, err, "125")
	require.Contains(t, string(out), `proc "often": it is auto, trace or no`)
}
