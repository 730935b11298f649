package twins

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/loader"
	"binproxy/emu/twin"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// probe is a root with one program, the probe of test/execs, which stands for the guest's sed, and
// a set with the same program of the host as its twin.
type probe struct {
	dir, root string
	set       *twin.Set
	peak      int // of the memory of what ran last, in KiB
}

const probeSource = "../execs/testdata/probe.c"

func newProbe(t *testing.T) *probe {
	t.Helper()
	need.Emulator(t, "aarch64")
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	p := &probe{dir: dir, root: filepath.Join(dir, "root"), set: &twin.Set{Dir: filepath.Join(dir, "twins"), Host: arch.Host().Name, Vendor: "debian", Database: "dpkg"}}
	for name, text := range map[string]string{
		"etc/os-release":             "ID=debian\n",
		"var/lib/dpkg/status":        "Package: sed\nStatus: install ok installed\nArchitecture: arm64\nVersion: 4.9-1\n",
		"var/lib/dpkg/info/sed.list": "/bin/sed\n",
		"tmp/script":                 "#!/usr/bin/sed -x y\n",
		"proc/.empty":                "",
		"dev/null":                   "",
	} {
		path := filepath.Join(p.root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	}
	require.NoError(t, os.Mkdir(filepath.Join(p.root, "usr"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(p.root, "usr/bin"), 0o755))
	compile(t, "aarch64-linux-gnu-gcc", filepath.Join(p.root, "usr/bin/sed"), "-static")
	link, err := filepath.Rel(filepath.Join(p.root, "tmp"), filepath.Join(p.root, "usr/bin/sed"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(link, filepath.Join(p.root, "tmp/link")))
	p.pack(t)
	return p
}

func compile(t *testing.T, compiler, out string, flags ...string) {
	t.Helper()
	gcc := need.Program(t, compiler, compiler)
	args := append([]string{"-O1", "-pthread", "-w", "-o", out, probeSource}, flags...)
	text, err := exec.Command(gcc, args...).CombinedOutput()
	require.NoError(t, err, "%s", text)
}

// pack makes the set: the host's probe, its loader and its libraries.
func (p *probe) pack(t *testing.T) {
	t.Helper()
	sed := filepath.Join(p.set.Dir, "any/sed")
	require.NoError(t, os.MkdirAll(filepath.Dir(sed), 0o755))
	compile(t, "gcc", sed)
	libraries, err := loader.Libraries(sed)
	require.NoError(t, err)
	interp, err := loader.Of(sed)
	require.NoError(t, err)
	p.set.Loader = "lib/" + filepath.Base(interp)
	for _, lib := range libraries {
		text, err := os.ReadFile(lib)
		require.NoError(t, err)
		p.add(t, "lib/"+filepath.Base(lib), text)
	}
	unhide, err := twin.Unhide(arch.Host().EMachine)
	require.NoError(t, err)
	p.add(t, twin.UnhideName, unhide)
	fi, err := os.Stat(sed)
	require.NoError(t, err)
	p.set.Twins = []twin.Twin{{Name: "sed", ABI: twin.AnyABI, File: twin.File{Path: "any/sed", Package: "sed", Version: "4.9-2", Size: fi.Size(), Sum: "-"}}}
	p.save(t)
}

func (p *probe) add(t *testing.T, name string, text []byte) {
	t.Helper()
	path := filepath.Join(p.set.Dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, text, 0o755))
	p.set.Files = append(p.set.Files, twin.File{Path: name, Package: "-", Version: "-", Size: int64(len(text)), Sum: "-"})
}

func (p *probe) save(t *testing.T) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(p.set.Dir, twin.ManifestName), p.set.Marshal(), 0o644))
}

// run runs a command in the root, and gives its output, its exit status, and the debug lines about
// programs.
func (p *probe) run(t *testing.T, twins string, env []string, args ...string) (said string, status int, debug string) {
	t.Helper()
	cmd := exec.Command(built.Binproxy(t), append([]string{"run", "--route", "supervise", "--root", p.root, "--cwd", "/tmp", "--twins", twins, "--"}, args...)...)
	cmd.Env = append([]string{"PATH=/usr/bin", "BINPROXY_DEBUG=1", "SOME=thing", "EMPTY="}, env...)
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	err := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	p.peak = int(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	return out.String(), cmd.ProcessState.ExitCode(), diagnostics.String()
}

// An exec whose arguments are 20,000 pointers to the same string takes no memory of the
// supervisor's, and as many as the kernel takes are the twin's, too.
func TestSamePointers(t *testing.T) {
	need.Long(t) // the short run has TestBudget (emu/supervise/stack)
	p := newProbe(t)
	for _, size := range []string{"131072", "50000"} {
		args := []string{"sed", "pointers", "/usr/bin/sed", size}
		want, _, _ := p.run(t, "off", []string{"PROBE=1"}, args...)
		require.Contains(t, want, "pointers: ")
		got, _, debug := p.run(t, p.set.Dir, []string{"PROBE=1"}, args...)
		assert.Equal(t, want, got, size)
		assert.Contains(t, debug, ": twin /.binproxy-twins/any/sed\n")
		// what a process has before its exec counts, which is this one's
		var own syscall.Rusage
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &own))
		assert.Less(t, p.peak, int(own.Maxrss)+48<<10, "KiB of the supervisor and of its command, with strings of %s bytes", size)
	}
}

// facts are the probe's lines that have to be the same; docs/twins.md describes the two that are
// not.
func facts(said string) []string {
	var list []string
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "execfn: ") && !strings.HasPrefix(line, "exe: ") {
			list = append(list, line)
		}
	}
	return list
}

// A twin gets what the emulated program gets: arguments, environment, files, signals, ids, name;
// and the caller sees its status.
func TestTwinIsTheGuest(t *testing.T) {
	isTheGuest(t, newProbe(t))
}

// So does a static twin, as Go's tools are, which is executed without a loader.
func TestStaticTwinIsTheGuest(t *testing.T) {
	p := newProbe(t)
	p.makeStatic(t)
	isTheGuest(t, p)
}

// makeStatic makes the twin static, in a set that has nothing else.
func (p *probe) makeStatic(t *testing.T) {
	t.Helper()
	sed := filepath.Join(p.set.Dir, p.set.Twins[0].Path)
	compile(t, "gcc", sed, "-static")
	fi, err := os.Stat(sed)
	require.NoError(t, err)
	p.set.Loader, p.set.Files, p.set.Twins[0].Size = "", nil, fi.Size()
	p.save(t)
}

func isTheGuest(t *testing.T, p *probe) {
	for _, c := range []struct {
		name string
		env  []string
		args []string
	}{
		{name: "arguments", args: []string{"/usr/bin/sed", "a", "", "b c", "--argv0", "--"}},
		{name: "by PATH", args: []string{"sed", "x"}},
		{name: "link", args: []string{"./link", "x"}},
		{name: "script", args: []string{"/tmp/script", "x", "y"}},
		{name: "status", env: []string{"EXITS=41"}, args: []string{"sed"}},
		{name: "loaders' variables", env: []string{"LD_LIBRARY_PATH=/x", "LD_PRELOAD=", "GLIBC_TUNABLES=glibc.malloc.check=1", "LD_BIND_NOW=", "L=1", "LD=2"}, args: []string{"sed", "a"}},
		{name: "exec", env: []string{"PROBE=1", "LD_LIBRARY_PATH=/y"}, args: []string{"sed", "exec", "/usr/bin/sed", "a"}},
		{name: "argv0", env: []string{"PROBE=1"}, args: []string{"sed", "argv0", "/usr/bin/sed", "another name", "a"}},
		{name: "empty argv0", env: []string{"PROBE=1"}, args: []string{"sed", "argv0", "/usr/bin/sed", "", "a"}},
		{name: "cleared environment", env: []string{"PROBE=1"}, args: []string{"sed", "cleared", "/usr/bin/sed", "a"}},
		{name: "files", env: []string{"PROBE=1"}, args: []string{"sed", "files", "/usr/bin/sed"}},
		{name: "signals", env: []string{"PROBE=1"}, args: []string{"sed", "signals", "/usr/bin/sed"}},
		{name: "session", env: []string{"PROBE=1"}, args: []string{"sed", "session", "/usr/bin/sed"}},
		{name: "thread", env: []string{"PROBE=1"}, args: []string{"sed", "thread", "/usr/bin/sed", "x"}},
		{name: "spawn", env: []string{"PROBE=1"}, args: []string{"sed", "spawn", "/usr/bin/sed", "x"}},
		{name: "gone", env: []string{"PROBE=1"}, args: []string{"sed", "exec", "/nowhere", "x"}},
		{name: "vfork fails", env: []string{"PROBE=1"}, args: []string{"sed", "vforkfails", "/nowhere", "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, wantStatus, _ := p.run(t, "off", c.env, c.args...)
			got, status, debug := p.run(t, p.set.Dir, c.env, c.args...)
			assert.Contains(t, debug, ": twin /.binproxy-twins/any/sed\n")
			assert.Equal(t, facts(want), facts(got))
			assert.Equal(t, wantStatus, status)
			assert.NotContains(t, debug, "ld.so", "the twin's loader saw the guest's variables")
		})
	}
	_, err := os.Lstat(filepath.Join(p.root, ".binproxy-twins"))
	assert.ErrorIs(t, err, os.ErrNotExist, "the root is as it was")
}

// The directory on which the twins are mounted stays while another run uses it, and is removed
// with the last one, even if a killed run left it.
func TestPlaceIsShared(t *testing.T) {
	p := newProbe(t)
	place := filepath.Join(p.root, ".binproxy-twins")
	require.NoError(t, os.Mkdir(place, 0o755))
	other, err := os.Open(place)
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, unix.Flock(int(other.Fd()), unix.LOCK_SH))

	_, _, debug := p.run(t, p.set.Dir, nil, "sed", "a")
	assert.Contains(t, debug, ": twin /.binproxy-twins/any/sed\n")
	assert.DirExists(t, place)
	require.NoError(t, unix.Flock(int(other.Fd()), unix.LOCK_UN))
	_, _, debug = p.run(t, p.set.Dir, nil, "sed", "a")
	assert.Contains(t, debug, ": twin /.binproxy-twins/any/sed\n")
	assert.NoDirExists(t, place)
}

// A fault of the twins is never one of the command: the emulator runs it, and one debug line gives
// the reason.
func TestFallback(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, p *probe)
		why   string
	}{
		{"nothing wrong", func(*testing.T, *probe) {}, ""},
		{"a missing library", func(t *testing.T, p *probe) { require.NoError(t, os.Remove(filepath.Join(p.set.Dir, "lib/libc.so.6"))) }, "no twins: stat "},
		{"a library cut short", func(t *testing.T, p *probe) {
			require.NoError(t, os.Truncate(filepath.Join(p.set.Dir, "lib/libc.so.6"), 9))
		}, "has 9 bytes instead of "},
		{"a missing twin", func(t *testing.T, p *probe) { require.NoError(t, os.Remove(filepath.Join(p.set.Dir, "any/sed"))) }, "no twin: stat "},
		{"a loader that may not be executed", func(t *testing.T, p *probe) {
			require.NoError(t, os.Chmod(filepath.Join(p.set.Dir, p.set.Loader), 0o644))
		}, "permission denied"},
		{"no loader", func(t *testing.T, p *probe) { p.set.Loader = ""; p.save(t) }, "no twin: the twins in "},
		{"a static twin of another architecture", func(t *testing.T, p *probe) {
			p.makeStatic(t)
			copyFile(t, filepath.Join(p.root, "usr/bin/sed"), filepath.Join(p.set.Dir, "any/sed"))
			fi, err := os.Stat(filepath.Join(p.root, "usr/bin/sed"))
			require.NoError(t, err)
			p.set.Twins[0].Size = fi.Size()
			p.save(t)
		}, "is not a program of this host's architecture"},
		{"a static twin that the kernel refuses", func(t *testing.T, p *probe) {
			p.makeStatic(t)
			require.NoError(t, os.Chmod(filepath.Join(p.set.Dir, "any/sed"), 0o644))
		}, "permission denied"},
		{"a loader of another architecture", func(t *testing.T, p *probe) {
			text, err := os.ReadFile(filepath.Join(p.root, "usr/bin/sed"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(p.set.Dir, p.set.Loader), text, 0o755))
			p.set.Files[p.loader()].Size = int64(len(text))
			p.save(t)
		}, "is not a program of this host's architecture"},
		{"a loader that the kernel refuses", func(t *testing.T, p *probe) {
			path := filepath.Join(p.set.Dir, p.set.Loader)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			text[54], text[55] = 1, 1 // e_phentsize
			require.NoError(t, os.WriteFile(path, text, 0o755))
		}, "no twin"},
		{"an old kernel", func(t *testing.T, p *probe) { p.set.Kernel = "99.0.0"; p.save(t) }, "need Linux 99.0.0"},
		{"another host", func(t *testing.T, p *probe) { p.set.Host = "s390x"; p.save(t) }, "are programs for s390x"},
		{"another version", func(t *testing.T, p *probe) { p.set.Twins[0].Version = "4.8-1"; p.save(t) }, "no twin: the guest's is 4.9, the twin is 4.8"},
		{"another distribution", func(t *testing.T, p *probe) { p.set.Vendor = "ubuntu"; p.save(t) }, `no twin: the guest is "debian"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProbe(t)
			want, wantStatus, _ := p.run(t, "off", nil, "sed", "a")
			c.spoil(t, p)
			got, status, debug := p.run(t, p.set.Dir, nil, "sed", "a")
			assert.Equal(t, facts(want), facts(got))
			assert.Equal(t, wantStatus, status)
			assert.Equal(t, c.why == "", strings.Contains(debug, "twin /.binproxy-twins"), debug)
			assert.Contains(t, debug, c.why)
		})
	}
}

func (p *probe) loader() int {
	for i, f := range p.set.Files {
		if f.Path == p.set.Loader {
			return i
		}
	}
	return -1
}

// A loader to which uname shows an old release would end the program, so it does not get that
// release.
func TestReleaseOfAnother(t *testing.T) {
	p := newProbe(t)
	p.set.Kernel = "3.2.0"
	p.save(t)
	said, status := run(t, "--root", p.root, "--twins", p.set.Dir, "--release", "2.6.32", "--summary", "--", "sed", "a")
	assert.Zero(t, status)
	assert.Contains(t, said, "argv[1]: a\n")
	assert.Contains(t, said, "sed: no twins are given")
	said, status = run(t, "--root", p.root, "--twins", p.set.Dir, "--release", "4.15.0", "--summary", "--", "sed", "a")
	assert.Zero(t, status)
	assert.Contains(t, said, "1 programs ran as twins")
}

// A requested set that cannot be read is an error before anything runs, and so is a name without a
// rule.
func TestNoSuchTwins(t *testing.T) {
	p := newProbe(t)
	_, status, said := p.run(t, filepath.Join(p.dir, "nowhere"), nil, "sed")
	assert.Equal(t, 125, status)
	assert.Contains(t, said, "make them with binproxy twin pack")
	said, status = run(t, "--root", p.root, "--twins", p.set.Dir, "--no-twin", "sedd", "--", "sed")
	assert.Equal(t, 125, status)
	assert.Contains(t, said, "run: --no-twin: there is no rule for \"sedd\"")
}

// The summary and the trace show what ran as twin, and what could have.
func TestReport(t *testing.T) {
	p := newProbe(t)
	trace := filepath.Join(t.TempDir(), "trace")
	said, status := run(t, "--root", p.root, "--twins", p.set.Dir, "--summary", "--trace", trace, "--", "sed")
	assert.Zero(t, status)
	assert.Contains(t, said, "1 as twins with")
	assert.Contains(t, said, "twins: 1 programs ran as twins")
	text, err := os.ReadFile(trace)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"arch":"twin"`)
	said, status = run(t, "--root", p.root, "--twins", p.set.Dir, "--no-twin", "text", "--summary", "--trace", trace, "--", "sed")
	assert.Zero(t, status)
	assert.Contains(t, said, "twins: 1 programs could have run as twins")
	assert.Contains(t, said, "sed: switched off")
	text, err = os.ReadFile(trace)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"no_twin":"switched off"`)
	said, _ = run(t, "--root", p.root, "--twins", "off", "--summary", "--", "sed")
	assert.Contains(t, said, "sed: no twins are given")
	said, _ = run(t, "--root", p.root, "--twins", "off", "--no-twin", "sed", "--summary", "--", "sed")
	assert.Contains(t, said, "sed: switched off")
}
