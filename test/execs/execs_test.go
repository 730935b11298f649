// Package execs compares every way to exec a guest program under supervision with the same exec
// under the kernel's own binfmt_misc, which a user namespace provides without touching the host
// (Linux 6.7).
package execs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// kind is one kind of guest program.
type kind struct {
	name, qemu, compiler, pkg string
	flags                     []string
	prefix                    string // where its C library is
}

var kinds = []kind{
	{"aarch64 static", "aarch64", "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", []string{"-static"}, ""},
	{"aarch64 dynamic", "aarch64", "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", nil, "/usr/aarch64-linux-gnu"},
	{"arm static", "arm", "arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf", []string{"-static"}, ""},
	{"arm dynamic", "arm", "arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf", nil, "/usr/arm-linux-gnueabihf"},
}

// referenceEnv makes the test binary the reference: it mounts its user namespace's binfmt_misc,
// registers the emulators that its arguments name up to "--", with the flags that the variable
// says, and execs the rest.
const referenceEnv = "BINPROXY_TEST_REFERENCE"

func TestMain(m *testing.M) {
	if os.Getenv(referenceEnv) != "" {
		fmt.Fprintln(os.Stderr, reference(os.Getenv(referenceEnv), os.Args[1:]))
		os.Exit(125)
	}
	if place := os.Getenv(placeEnv); place != "" {
		fmt.Fprintln(os.Stderr, confine(place, os.Args[1:]))
		os.Exit(125)
	}
	os.Exit(m.Run())
}

func reference(flags string, args []string) error {
	os.Unsetenv(referenceEnv)
	if err := unix.Mount("binfmt_misc", binfmt.Dir, "binfmt_misc", 0, ""); err != nil {
		return err
	}
	for len(args) > 0 && args[0] != "--" {
		abi, err := arch.Parse(args[0])
		if err != nil {
			return err
		}
		if err := (binfmt.Registry{Dir: binfmt.Dir}).Register(binfmt.ForABI(abi, args[1], flags)); err != nil {
			return err
		}
		args = args[2:]
	}
	return syscall.Exec(args[1], args[1:], os.Environ())
}

// outcome is what a command did.
type outcome struct {
	Status int
	Output []string
}

func runIn(t *testing.T, dir string, env []string, attr *syscall.SysProcAttr, argv ...string) outcome {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, env, attr
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// Something to inherit: a file at an offset, as two descriptors.
	inherited, err := os.Open("/etc/passwd")
	require.NoError(t, err)
	defer inherited.Close()
	_, err = inherited.Seek(5, io.SeekStart)
	require.NoError(t, err)
	cmd.ExtraFiles = []*os.File{inherited, inherited}
	err = cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	code := status.ExitStatus()
	if status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return outcome{code, strings.Split(strings.TrimSpace(out.String()), "\n")}
}

// namespace is a user namespace with the ids that we may give it. An ordinary user is root there,
// since only root can register anything.
func namespace() *syscall.SysProcAttr {
	size := 1
	if os.Geteuid() == 0 {
		size = 65536
	}
	ids := func(id int) []syscall.SysProcIDMap {
		if size > 1 {
			id = 0
		}
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: size}}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: ids(os.Getuid()), GidMappings: ids(os.Getgid()),
		GidMappingsEnableSetgroups: size > 1,
	}
}

// bench is a directory with everything that the cases exec.
type bench struct {
	dir       string
	kind      kind
	binproxy  string
	emulators []string // pairs of architecture and file
	twin      *bench   // the same with native programs
}

func (b *bench) env(extra ...string) []string {
	env := []string{"PROBE=1", "PATH=/usr/bin:/bin", "SOME=thing", "EMPTY="}
	if b.kind.prefix != "" {
		env = append(env, "QEMU_LD_PREFIX="+b.kind.prefix)
	}
	return append(env, extra...)
}

// expand puts the directory for @.
func (b *bench) expand(args []string) []string {
	list := make([]string, len(args))
	for i, a := range args {
		list[i] = strings.ReplaceAll(a, "@", b.dir)
	}
	return list
}

func (b *bench) kernel(t *testing.T, extra []string, args ...string) outcome {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	argv := append([]string{self}, b.emulators...)
	argv = append(append(argv, "--"), b.expand(args)...)
	return runIn(t, b.dir, b.env(append(extra, referenceEnv+"=OPF")...), namespace(), argv...)
}

func (b *bench) supervised(t *testing.T, place string, extra []string, args ...string) outcome {
	t.Helper()
	argv := append([]string{b.binproxy, "run", "--"}, b.expand(args)...)
	if place != "" {
		self, err := os.Executable()
		require.NoError(t, err)
		argv = append([]string{self}, argv...)
		extra = append(extra, placeEnv+"="+place)
	}
	return runIn(t, b.dir, b.env(extra...), nil, argv...)
}

// newBench makes the directory.
func newBench(t *testing.T, k kind) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "execs")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{dir: dir, kind: k, binproxy: built.Binproxy(t)}
	require.NoError(t, os.Chmod(b.dir, 0o755))
	for _, qemu := range []string{"aarch64", "arm"} {
		b.emulators = append(b.emulators, map[string]string{"aarch64": "aarch64", "arm": "armhf"}[qemu], need.Emulator(t, qemu))
	}
	compile(t, k, filepath.Join(b.dir, "probe"))
	compile(t, kind{compiler: "gcc", pkg: "gcc", flags: []string{"-static"}}, filepath.Join(b.dir, "native"))
	b.fill(t)
	return b
}

// nativeTwin is a directory of the same with the host's programs in place of the guest's.
func (b *bench) nativeTwin(t *testing.T) *bench {
	t.Helper()
	if b.twin == nil {
		b.twin = newBench(t, kind{name: "native", compiler: "gcc", pkg: "gcc", flags: []string{"-static"}})
	}
	b.twin.restore(t)
	return b.twin
}

func compile(t *testing.T, k kind, out string) {
	t.Helper()
	gcc := need.Program(t, k.compiler, k.pkg)
	args := append([]string{"-O1", "-pthread", "-w", "-o", out, "testdata/probe.c"}, k.flags...)
	text, err := exec.Command(gcc, args...).CombinedOutput()
	require.NoError(t, err, "%s", text)
}

// fill adds the files to execute besides the probe, and those that cannot be executed.
func (b *bench) fill(t *testing.T) {
	t.Helper()
	write := func(name, text string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(filepath.Join(b.dir, name), []byte(text), mode))
		require.NoError(t, os.Chmod(filepath.Join(b.dir, name), mode))
	}
	at := func(text string) string { return strings.ReplaceAll(text, "@", b.dir) }
	probe, err := os.ReadFile(filepath.Join(b.dir, "probe"))
	require.NoError(t, err)
	write("unreadable", string(probe), 0o111)
	write("noexec", string(probe), 0o644)
	write("owner", string(probe), 0o700)
	write("cut", string(probe[:40]), 0o755)
	write("empty", "", 0o755)
	write("text", "exit 0\n", 0o755)
	write("script", at("#!@/probe\n"), 0o755)
	write("scriptarg", at("#! @/probe \t one  two three \nrest\n"), 0o755)
	write("scriptrel", "#!./probe\n", 0o755)
	write("scriptnoend", at("#!@/probe"), 0o755)
	write("scriptcr", at("#!@/probe\r\n"), 0o755)
	write("scriptblank", "#! \n", 0o755)
	write("scriptgone", "#!/nonexistent/interpreter\n", 0o755)
	write("scriptdir", at("#!@/dir\n"), 0o755)
	write("scriptnoexec", at("#!@/noexec\n"), 0o755)
	write("scripttext", at("#!@/text\n"), 0o755)
	write("scriptnative", at("#!@/native\n"), 0o755)
	write("scriptcut", "#!"+strings.Repeat("/", 300)+"\n", 0o755)
	write("scriptlong", at("#!@/probe ")+strings.Repeat("y", 300)+"\n", 0o755)
	write("nested0", at("#!@/probe deep\n"), 0o755)
	for i := 1; i < 8; i++ {
		write(fmt.Sprintf("nested%d", i), at(fmt.Sprintf("#!@/nested%d arg%d\n", i-1, i)), 0o755)
	}
	write("setuid", string(probe), 0o755|os.ModeSetuid)
	write("name with space", string(probe), 0o755)
	write("-dash", string(probe), 0o755)
	write("a-name-that-is-longer-than-comm", string(probe), 0o755)
	link := func(name, to string) { require.NoError(t, os.Symlink(at(to), filepath.Join(b.dir, name))) }
	link("link", "probe")
	link("linkabs", "@/probe")
	link("linkscript", "script")
	link("dangling", "nowhere")
	link("loop", "loop")
	require.NoError(t, os.Mkdir(filepath.Join(b.dir, "dir"), 0o755))
	link("dir/up", "../probe")
	require.NoError(t, os.Mkdir(filepath.Join(b.dir, "closed"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "closed", "probe"), probe, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "closed", "script"), []byte(at("#!@/unreadable\n")), 0o755))
	require.NoError(t, unix.Mkfifo(filepath.Join(b.dir, "fifo"), 0o755))
	b.fillRoot(t, probe)
}

// fillRoot makes a root directory for chroot and pivot_root.
func (b *bench) fillRoot(t *testing.T, probe []byte) {
	t.Helper()
	root := filepath.Join(b.dir, "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "bin", "probe"), probe, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "bin", "script"), []byte("#!/bin/probe in root\n"), 0o755))
	require.NoError(t, os.Symlink("/bin/probe", filepath.Join(root, "link")))
	require.NoError(t, os.Symlink("../../../../bin/probe", filepath.Join(root, "bin", "climbs")))
	if b.kind.prefix != "" {
		// The loader and the libraries, where the emulator looks for them by its prefix.
		dst := root + b.kind.prefix
		require.NoError(t, os.MkdirAll(filepath.Dir(dst), 0o755))
		text, err := exec.Command("cp", "-a", b.kind.prefix, dst).CombinedOutput()
		require.NoError(t, err, "%s", text)
	}
}
