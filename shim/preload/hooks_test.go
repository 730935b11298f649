package preload_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
	"binproxy/emu/identity"
	"binproxy/shim/preload"
	"binproxy/test/lib/cross"
	"binproxy/test/lib/need"
)

// A world is a libc and an ABI that the driver runs in, and the foreign program that it execs.
type world struct {
	bundle config.Config
	run    []string // runs the driver: the emulator, for a guest
	env    []string
	driver string
	show   string // the foreign program; it prints its argv
	bare   bool   // its emulator's replacement prints too: the argv is the emulator's
	glibc  bool
}

// native is the host's own ABI. Guests are aarch64 files that nobody runs, since the emulator only
// prints how it was called.
func native(t *testing.T, compiler string) world {
	dir := filepath.Join(t.TempDir(), "b")
	bundle := newBundle(t, dir, config.Config{Emulators: []emulator.Emulator{{QEMU: "aarch64", Path: "qemu-aarch64"}}})
	show := filepath.Join(dir, "show")
	require.NoError(t, os.WriteFile(show, header(arch.Get("aarch64")), 0o755))
	return world{bundle: bundle, driver: compile(t, compiler, "driver.c"), show: show, bare: true, glibc: compiler == "gcc",
		env: []string{"LD_PRELOAD=" + entry(bundle, preload.ExecHook)}}
}

// guest is a guest's ABI under its real emulator and glibc.
func guest(t *testing.T, abi *arch.ABI) world {
	driver, qemu := compileFor(t, abi, "driver.c"), need.Emulator(t, abi.QEMU)
	bundle := newBundle(t, filepath.Join(t.TempDir(), "b"), config.Config{Emulators: []emulator.Emulator{{QEMU: abi.QEMU, Path: qemu}}})
	return world{bundle: bundle, driver: driver, show: compileFor(t, abi, "show.c", cross.SelfContained(t, abi)...), run: []string{qemu, "-L", cross.Libc(t, abi)}, glibc: true,
		env: []string{"LD_PRELOAD=" + preload.Entry(bundle.Dir, abi, preload.ExecHook)}}
}

// call runs the driver, and gives its output.
func (w world) call(t *testing.T, env []string, args ...string) string {
	t.Helper()
	argv := append(append(append([]string{}, w.run...), w.driver), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append([]string{"PATH=" + filepath.Dir(w.show) + ":/usr/bin:/bin"}, w.env...), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// argv is the line that the foreign program prints for its arguments when it is called by path.
func (w world) argv(path string, argv ...string) string {
	if w.bare {
		argv = append([]string{w.bundle.Dir + "/qemu-aarch64", "-0", argv[0], path}, argv[1:]...)
	}
	return "argv [" + strings.Join(argv, "] [") + "]\n"
}

// byFD is argv's line for the program that the driver execs by its first descriptor.
func (w world) byFD(argv ...string) string { return w.argv("/dev/fd/3", argv...) }

// usual are the ABIs of the short run: the most frequent guests, and one of the other byte order.
var usual = []string{"aarch64", "armhf", "s390x"}

func TestHooks(t *testing.T) {
	t.Run("glibc", func(t *testing.T) { testHooks(t, native(t, "gcc")) })
	t.Run("musl", func(t *testing.T) { testHooks(t, native(t, "musl-gcc")) })
	for _, abi := range arch.All() {
		if preload.Libraries()[abi.Name+"/exec.so"] != nil && abi != arch.Host() {
			t.Run(abi.Name, func(t *testing.T) {
				if !slices.Contains(usual, abi.Name) {
					need.Long(t)
				}
				testHooks(t, guest(t, abi))
			})
		}
	}
}

func testHooks(t *testing.T, w world) {
	kept := "env " + w.env[0] + "\n"
	given := "env FOO=bar\n"
	all := w.argv(w.show, "zero", "one", "two")
	args := []string{"zero", "one", "two"}
	for _, c := range []struct{ function, path, want string }{
		{"execve", w.show, all + given + kept},
		{"execv", w.show, all + kept},
		{"execvp", w.show, all + kept},
		{"execvp", "show", all + kept},
		{"execvpe", "show", all + given + kept},
		{"execl", w.show, all + kept},
		{"execlp", "show", all + kept},
		{"execle", w.show, all + given + kept},
		{"fexecve", w.show, w.byFD(args...) + given + kept},
		{"fexecve-cloexec", w.show, all + given + kept},
		{"vfork", w.show, all + given + kept + "status 0\n"},
		{"posix_spawn", w.show, all + given + kept + "status 0\n"},
		{"posix_spawnp", "show", all + given + kept + "status 0\n"},
		{"execve", "/gone", "errno 2\n"},
		{"execvp", "gone", "errno 2\n"},
		{"vfork", "/gone", "status 2\n"},
		{"posix_spawn", "/gone", "errno 2\n"},
		{"posix_spawnp", "gone", "errno 2\n"},
		{"execve", "/etc", "errno 13\n"},
		{"system", "exec " + w.show + " one", w.argv(w.show, w.show, "one") + kept + "status 0\n"},
		{"system", w.show + "; exit 3", w.argv(w.show, w.show) + kept + "status 3\n"},
		{"system", "-gone", "*status 127\n"},
		{"system", "kill -9 $$", "signal 9\n"},
		{"popen-r", w.show + " one | head -n1", "read " + w.argv(w.show, w.show, "one") + "status 0\nstatus 0\n"},
		{"popen-w", "cat; exit 4", "written\nstatus 4\n"},
	} {
		got := w.call(t, []string{"CLEAR=1"}, append([]string{c.function, c.path}, args...)...)
		if strings.HasPrefix(c.want, "*") {
			assert.True(t, strings.HasSuffix(got, c.want[1:]), "%s %s: %s", c.function, c.path, got)
			continue
		}
		assert.Equal(t, c.want, got, "%s %s", c.function, c.path)
	}
	w.testFiles(t)
}

// testFiles tests ways to a file other than a path, and what glibc's execvp does with a text.
func (w world) testFiles(t *testing.T) {
	dir := t.TempDir()
	script, text := filepath.Join(dir, "script"), filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(script, []byte("#!"+w.show+" -x\n"), 0o755))
	require.NoError(t, os.WriteFile(text, []byte("echo text $1\n"), 0o755))
	assert.Contains(t, w.call(t, nil, "execve", script, "zero", "one"), w.argv(w.show, w.show, "-x", script, "one"))
	assert.Contains(t, w.call(t, nil, "fexecve", script, "zero", "one"), w.argv(w.show, w.show, "-x", "/dev/fd/3", "one"))
	assert.Equal(t, "errno 2\n", w.call(t, nil, "fexecve-cloexec", script, "zero"))
	for _, function := range []string{"memfd", "memfd-cloexec"} {
		got := w.call(t, nil, function, w.show, "zero", "one")
		if w.bare {
			assert.Regexp(t, `qemu-aarch64\] \[-0\] \[zero\] \[/dev/fd/\d+\] \[one\]`, got, function)
		} else {
			assert.Contains(t, got, w.argv("", "zero", "one"), function)
		}
	}
	assert.Equal(t, "errno 8\n", w.call(t, nil, "execve", text, "zero", "one"))
	refused := "errno 8\n"
	if !w.bare {
		// QEMU forks where a vfork is asked for, so glibc does not learn of a failed exec. It does
		// learn of what the hook itself refuses.
		refused = "status 127\n"
	}
	assert.Equal(t, refused, w.call(t, nil, "posix_spawnp", text, "zero", "one"))
	if !w.glibc {
		assert.Equal(t, "errno 8\n", w.call(t, nil, "execvp", text, "zero", "one"))
		return
	}
	assert.Equal(t, "text one\n", w.call(t, nil, "execvp", text, "zero", "one"))
	assert.Contains(t, w.call(t, nil, "execveat", w.show, "zero", "one"), w.argv(w.show, "zero", "one"))
	assert.Equal(t, "errno 2\n", w.call(t, nil, "execveat", filepath.Dir(w.show)+"/gone", "zero"))
	assert.Equal(t, "errno 9\n", w.call(t, nil, "execveat-none", "relative", "zero"))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(w.show, link))
	assert.Contains(t, w.call(t, nil, "execve", link, "zero"), w.argv(link, "zero"))
	assert.Equal(t, map[bool]string{true: "errno 90\n", false: "errno 40\n"}[strings.Contains(w.env[0], "/mips")],
		w.call(t, nil, "execveat-nofollow", link, "zero"))
}

// LD_PRELOAD gets our entries back, behind what the program has there.
func TestLDPreload(t *testing.T) {
	w := native(t, "gcc")
	uname, hook := entry(w.bundle, preload.UnameHook), entry(w.bundle, preload.ExecHook)
	for _, c := range []struct {
		start string
		env   []string
		want  string
	}{
		{hook, nil, hook},
		{hook, []string{"-i"}, hook},
		{hook, []string{"-u", "LD_PRELOAD"}, hook},
		{hook, []string{"LD_PRELOAD=/a.so"}, "/a.so:" + hook},
		{hook, []string{"LD_PRELOAD=/a.so /b.so"}, "/a.so /b.so:" + hook},
		{hook, []string{"LD_PRELOAD=" + hook + ":/a.so"}, hook + ":/a.so"},
		{hook + ":" + uname, []string{"-i"}, hook + ":" + uname},
		{hook + ":" + uname, []string{"LD_PRELOAD=/a.so"}, "/a.so:" + hook + ":" + uname},
		{hook + ":/a.so:" + uname, nil, hook + ":/a.so:" + uname},
		{uname + " " + hook, []string{"LD_PRELOAD=" + uname}, uname + ":" + hook},
	} {
		cmd := exec.Command("/usr/bin/env", append(c.env, w.show)...)
		cmd.Env = append(os.Environ(), "LD_PRELOAD="+c.start)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Contains(t, string(out), "\nenv LD_PRELOAD="+c.want+"\n", "%s %q", c.start, c.env)
	}
}

// If a guest's emulator cannot be reached, a message says so: the errno alone would make the user
// look for a missing loader.
func TestWithoutEmulator(t *testing.T) {
	w := native(t, "gcc")
	require.NoError(t, os.Remove(w.bundle.Dir+"/qemu-aarch64"))
	said := "binproxy: preload: " + w.show + ": its emulator is not in " + w.bundle.Dir + "; is this a chroot? The bundle has to be in it\n"
	assert.Equal(t, said+"errno 2\n", w.call(t, nil, "execve", w.show, "zero"))
	require.NoError(t, os.Remove(w.bundle.Dir+"/"+config.Name))
	assert.Equal(t, said+"errno 8\n", w.call(t, nil, "execve", w.show, "zero"))
}

func names(t *testing.T, path string, run []string, env ...string) string {
	t.Helper()
	argv := append(append([]string{}, run...), path)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Empty(t, stderr.String())
	return string(out)
}

// The uname hook shows the configured fields wherever the program looks, and the kernel's own if
// nothing is configured: under every libc and ABI that the kernel runs, and in guests.
func TestNames(t *testing.T) {
	c := config.Config{Identity: identity.Identity{Release: "4.15.0-112-generic", Nodename: "builder"}}
	bundle := newBundle(t, filepath.Join(t.TempDir(), "b"), c)
	env := "LD_PRELOAD=" + entry(bundle, preload.UnameHook)
	type program struct {
		path string
		run  []string
		env  string
	}
	programs := map[string]program{
		"glibc": {compile(t, "gcc", "names.c"), nil, env},
		"musl":  {compile(t, "musl-gcc", "names.c"), nil, env},
	}
	if arch.Host().Name == "x86_64" {
		programs["i386"] = program{compile32(t, "names.c"), nil, env}
	}
	aarch64 := arch.Get("aarch64")
	programs["aarch64"] = program{compileFor(t, aarch64, "names.c"), []string{need.Emulator(t, "aarch64"), "-L", cross.Libc(t, aarch64)},
		"LD_PRELOAD=" + preload.Entry(bundle.Dir, aarch64, preload.UnameHook)}
	for name, p := range programs {
		t.Run(name, func(t *testing.T) {
			real := strings.Split(names(t, p.path, p.run), "\n")
			fields := strings.Fields(real[0])
			machine := fields[len(fields)-1]
			version := "Linux version 4.15.0-112-generic" + middle(t) + " #1 SMP"
			want := []string{
				"uname Linux builder 4.15.0-112-generic #1 SMP " + machine,
				"gethostname builder", "open 4.15.0-112-generic", "open64 #1 SMP", real[len(real)-6], "openat64 builder",
				"fopen " + version, "fopen64 " + version, "write 0 0", "",
			}
			assert.Equal(t, "openat Linux", want[4])
			assert.Equal(t, want, strings.Split(names(t, p.path, p.run, p.env), "\n"))

			lines := strings.Split(names(t, p.path, p.run, p.env, "BINPROXY_RELEASE=5.4.0", "BINPROXY_VERSION=#7", "BINPROXY_MACHINE=vax"), "\n")
			assert.Equal(t, "uname Linux builder 5.4.0 #7 vax", lines[0])
			assert.Equal(t, "open64 #7", lines[3])
		})
	}
}

// middle is what /proc/version has between release and version.
func middle(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/version")
	require.NoError(t, err)
	line := string(text)
	return line[strings.Index(line, " ("):strings.LastIndex(line, " #")]
}

// compile32 makes a 32-bit x86 program.
func compile32(t *testing.T, source string) string {
	t.Helper()
	i386 := arch.Get("i386")
	return compileFor(t, i386, source, cross.SelfContained(t, i386)...)
}

// A build that runs programs of both classes gets no message of ld.so: each finds its own library.
func TestBothClasses(t *testing.T) {
	need.Given(t, arch.Host().Name == "x86_64", "an x86_64 host")
	bundle := newBundle(t, filepath.Join(t.TempDir(), "b"), config.Config{Identity: identity.Identity{Release: "4.4.0"}})
	dir := t.TempDir()
	makefile := "all:\n\t@uname -r\n\t@" + compile(t, "gcc", "names.c") + " | grep '^uname' | cut -d' ' -f4\n\t@" + compile32(t, "names.c") +
		" | grep '^uname' | cut -d' ' -f4\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644))
	cmd := exec.Command(need.Program(t, "make", "make"), "-C", dir, "--no-print-directory")
	env, err := preload.Environment(bundle, arch.Host(), os.Environ())
	require.NoError(t, err)
	cmd.Env = env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Equal(t, "4.4.0\n4.4.0\n4.4.0\n", string(out))
	assert.Empty(t, stderr.String())
}
