package uml

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/uml"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// madeUp is a source tree that make builds in a moment: its linux is a program that prints its
// release. A build of it goes through every step of a real one: tar, make with the fragment, make
// with as many jobs as there are processors, strip, and the change in the cache.
var madeUp = map[string]string{
	"Makefile": `
ifneq ($(ARCH),um)
$(error ARCH is $(ARCH))
endif
allnoconfig:
	grep -q CONFIG_HOSTFS=y $(KCONFIG_ALLCONFIG)
	cp $(KCONFIG_ALLCONFIG) .config
linux: linux.c .config
	@echo "  CC      linux.o"
	$(if $(wildcard slow),echo compiling; sleep 300)
	$(CC) -static -o $@ $<
`,
	"linux.c": "#include <stdio.h>\nint main(void) { puts(\"RELEASE\"); return 0; }\n",
}

// sourceTar packs the tree, with the release, and with the file slow if its compiler should hang.
func sourceTar(t *testing.T, release string, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "linux-source.tar")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	files := map[string]string{}
	for name, text := range madeUp {
		files[name] = strings.ReplaceAll(text, "RELEASE", release)
	}
	for _, name := range more {
		files[name] = "broken\n"
	}
	for name, text := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "linux-source/" + name, Mode: 0o644, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// builds is a cache of its own.
type builds struct{ cache string }

func newBuilds(t *testing.T) builds {
	t.Helper()
	for _, program := range [][2]string{{"gcc", "gcc"}, {"make", "make"}, {"flex", "flex"}, {"bison", "bison"}, {"bc", "bc"}, {"xz", "xz-utils"}} {
		need.Program(t, program[0], program[1])
	}
	return builds{t.TempDir()}
}

func (b builds) command(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.Command(built.Binproxy(t), append([]string{"uml", "kernel", "build"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+b.cache)
	return cmd
}

// there lists the kernels in the cache, at any depth.
func (b builds) there(t *testing.T) []string {
	t.Helper()
	var list []string
	require.NoError(t, filepath.WalkDir(filepath.Join(b.cache, "binproxy/uml"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(filepath.Join(b.cache, "binproxy/uml"), path)
			list = append(list, name)
		}
		return err
	}))
	slices.Sort(list)
	return list
}

// A build leaves the kernel and its configuration. A build that fails, is interrupted or is killed
// leaves what was there before.
func TestBuild(t *testing.T) {
	b := newBuilds(t)
	whole := []string{"6.99.1/config", "6.99.1/linux", "lock"}
	r := finish(t, b.command(t, "--source", sourceTar(t, "6.99.1")), nil)
	require.Equal(t, 0, r.status, r.stderr)
	kernel := filepath.Join(b.cache, "binproxy/uml/6.99.1/linux")
	assert.Equal(t, kernel+"\n", r.stdout)
	assert.Regexp(t, `(?m)^unpack linux-source.tar\ncompile, with [0-9]+ processors\nmade 6.99.1$`, r.stderr)
	require.Equal(t, whole, b.there(t))
	require.NoError(t, os.WriteFile(filepath.Join(b.cache, "binproxy/uml/6.99.1/config"), []byte("# another fragment\n"), 0o644))

	t.Run("fails", func(t *testing.T) {
		r := finish(t, b.command(t, "--source", sourceTar(t, "6.99.1", "linux.c")), nil)
		assert.Equal(t, 125, r.status)
		assert.Regexp(t, `(?s)^.*binproxy: uml kernel build: make ARCH=um: exit status 2; the end of its output:\n.*broken`, r.stderr)
		assert.Equal(t, whole, b.there(t))
	})
	t.Run("is no kernel", func(t *testing.T) {
		r := finish(t, b.command(t, "--source", sourceTar(t, "hello")), nil)
		assert.Equal(t, 125, r.status)
		assert.Contains(t, r.stderr, `not a User Mode Linux kernel: asked for its version, it says "hello`)
		assert.Equal(t, whole, b.there(t))
	})
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			p := b.compiling(t)
			require.NoError(t, p.Process.Signal(signal))
			assert.Equal(t, 125, p.wait())
			said, err := os.ReadFile(p.Stderr.(*os.File).Name())
			require.NoError(t, err)
			assert.Contains(t, string(said), "binproxy: uml kernel build: interrupted\n")
			assert.Equal(t, whole, b.there(t))
			assert.Empty(t, left(), "make and its compilers")
		})
	}
	t.Run("killed", func(t *testing.T) {
		p := b.compiling(t)
		require.NoError(t, p.Process.Kill())
		p.wait()
		unfinished := b.there(t)
		assert.Subset(t, unfinished, whole)
		assert.Greater(t, len(unfinished), len(whole), "it had no chance to remove its directory")
		list := exec.Command(built.Binproxy(t), "uml", "kernel", "list")
		list.Env = append(os.Environ(), "XDG_CACHE_HOME="+b.cache)
		assert.NotContains(t, finish(t, list, nil).stdout, "build-")
		// What the list keeps of its trials is not a build's.
		tried := filepath.Join(b.cache, "binproxy/uml/tried")
		assert.DirExists(t, tried)
		require.NoError(t, os.RemoveAll(tried))
		endSleepers(t)
	})
	// The next build replaces the killed one, and the kernel that had another configuration.
	r = finish(t, b.command(t, "--source", sourceTar(t, "6.99.1")), nil)
	require.Equal(t, 0, r.status, r.stderr)
	require.Equal(t, whole, b.there(t))
	text, err := os.ReadFile(filepath.Join(b.cache, "binproxy/uml/6.99.1/config"))
	require.NoError(t, err)
	assert.Contains(t, string(text), "CONFIG_HOSTFS=y\n")
}

// compiling starts a build whose compiler hangs, and waits until the compiler runs.
func (b builds) compiling(t *testing.T) *process {
	t.Helper()
	cmd := b.command(t, "--source", sourceTar(t, "6.99.1", "slow"))
	// not a pipe, which a killed build's children would hold open
	said, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	t.Cleanup(func() { said.Close() })
	cmd.Stderr = said
	p := start(t, cmd)
	for range 600 {
		logs, _ := filepath.Glob(filepath.Join(b.cache, "binproxy/uml/build-*/log"))
		for _, log := range logs {
			if text, _ := os.ReadFile(log); bytes.Contains(text, []byte("\ncompiling\n")) {
				return p
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the build did not come to its compiler")
	return nil
}

// endSleepers ends what a killed build left running: our children, since this test is their
// reaper, and then their children.
func endSleepers(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		list := children()
		if len(list) == 0 {
			return
		}
		for _, child := range list {
			var pid int
			fmt.Sscan(child, &pid)
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	t.Error("what the build left cannot be ended")
}

// The kernel that the long run has built has this configuration, and boots.
func TestBuilt(t *testing.T) {
	need.Long(t)
	k := ourKernel(t)
	made, err := os.ReadFile(filepath.Join(filepath.Dir(k.Path), "config"))
	require.NoError(t, err)
	fragment, err := os.ReadFile("../../emu/uml/fragment.config")
	require.NoError(t, err)
	need.Installed(t, bytes.Equal(made, fragment), "a kernel of this configuration (binproxy uml kernel build)")
	c := one(t)
	assert.Equal(t, k.Release+"\n", c.sh(t, "uname -r"))
}

// The kernel of Debian's next release runs with the loader and the libraries that it came with,
// and loads the modules, for every user.
func TestFetched(t *testing.T) {
	need.Long(t) // the short run has no other kernel if this one is needed
	need.Emulator(t, "aarch64")
	t.Parallel()
	for _, uid := range users() {
		t.Run(itoa(uid), func(t *testing.T) {
			t.Parallel()
			c := newCase(t, fetched, uid)
			k, err := uml.Open(c.kernel)
			require.NoError(t, err)
			assert.Equal(t, k.Release+"\nlayer\n", c.sh(t, "uname -r; echo layer >/etc/motd; cat /etc/motd", "--overlay"))
			r := c.run(t, nil, "--root", filepath.Join(shared, "arm64"), "--arch", "arm64", "--", "/bin/sh", "twice")
			assert.Equal(t, fmt.Sprintf("arm64 aarch64 %s [/bin/sh twice]\narm64 aarch64 %[1]s [/bin/sh a b]\n", k.Release), r.stdout, r.stderr)
			assert.Equal(t, 9, r.status)
		})
	}
}
