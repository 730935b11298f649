package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/elfinfo"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/supervise"
	"binproxy/test/lib/host"
	"binproxy/test/lib/need"
)

// asUser marks an ordinary user's run of a test by this program.
const asUser = "MNTNS_TEST_AS_USER"

// TestMain is also the program that Create starts again.
func TestMain(m *testing.M) {
	if ok, err := entrypoint.Main([]entrypoint.Row{{Name: entrypoint.Make, Run: Make}, {Name: entrypoint.Hold, Run: Hold},
		{Name: entrypoint.Prove, Run: Prove}, {Name: entrypoint.Launch, Run: supervise.Launch}}, os.Args); ok {
		end(err)
	}
	if os.Getenv(asUser) != "" {
		os.Exit(m.Run())
	}
	host.Main(m)
}

func end(err error) {
	fmt.Fprintln(os.Stderr, exit.Message(err))
	os.Exit(exit.Code(err))
}

// as runs the calling test as root, as the ordinary user with subordinate ids, and as one without.
func as(t *testing.T, test func(t *testing.T)) {
	if os.Getenv(asUser) != "" {
		test(t)
		return
	}
	host.Need(t)
	need.Emulator(t, "aarch64")
	t.Run("root", test)
	for name, id := range map[string]uint32{"user": host.UserID, "user without subordinate ids": 54321} {
		t.Run(name, func(t *testing.T) {
			// This program, started again in a root without a loader, holds his container.
			need.Given(t, id == host.UserID || static(t), "a static test program (CGO_ENABLED=0)")
			home := host.Home(t)
			require.NoError(t, os.Chown(home, int(id), int(id)))
			require.NoError(t, os.Chown(home+"/run", int(id), int(id)))
			// whatever umask it was built under
			require.NoError(t, os.Chmod("/proc/self/exe", 0o755))
			cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()[:strings.IndexByte(t.Name(), '/')]+"$", "-test.v")
			host.As(cmd, home)
			cmd.SysProcAttr.Credential.Uid, cmd.SysProcAttr.Credential.Gid = id, id
			cmd.Env = append(cmd.Env, asUser+"=1", "TMPDIR="+home, fmt.Sprintf("USER=%d", id))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.NotContains(t, string(out), "SKIP")
		})
	}
}

func static(t *testing.T) bool {
	f, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer f.Close()
	info, err := elfinfo.Read(f)
	require.NoError(t, err)
	return info.Static()
}

// foreignRoot is the smallest root that Create accepts.
func foreignRoot(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.MkdirAll(dir+"/bin", 0o755))
	require.NoError(t, os.WriteFile(dir+"/bin/sh", tiny.Program(arch.Get("aarch64")), 0o755))
	return dir
}

func options(t *testing.T, location string) Options {
	return Options{ABI: arch.Get("aarch64"), Location: location, Emulator: need.Emulator(t, "aarch64"), Warn: t.Logf}
}

func tree(t *testing.T, dir string) []string {
	var paths []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	return paths
}

// Whichever step fails, the mounts, the root and the store are as before.
func TestEveryStepThatFailsIsUndone(t *testing.T) {
	as(t, func(t *testing.T) {
		for _, route := range []string{RouteUserns, RouteSupervise} {
			everyStepFails(t, route)
		}
	})
}

func everyStepFails(t *testing.T, route string) {
	location := foreignRoot(t)
	o := options(t, location)
	o.Route, o.Identity = route, identity.Identity{Release: "4.15.0"}
	mounts, files := host.Mounts(t), tree(t, location)
	for o.failAt = 1; ; o.failAt++ {
		c, err := Create(o)
		if err == nil {
			break
		}
		require.ErrorContains(t, err, "failed for the test's sake")
		assert.Equal(t, mounts, host.Mounts(t), err)
		if strings.Contains(err.Error(), "making it the root") {
			continue // the namespace that would have to clean the root uses it
		}
		assert.Equal(t, files, tree(t, location), err)
		assert.Empty(t, c.Anchor)
		all, err := List()
		require.NoError(t, err)
		assert.Empty(t, all)
	}
	assert.Greater(t, o.failAt, 15, "steps")
	require.NoError(t, Remove("aarch64"))
	assert.Equal(t, mounts, host.Mounts(t))
	assert.FileExists(t, location+"/bin/sh")
}

// By the host's entry, which the root cannot see: otherwise a package in it would register its
// emulators with the host.
func TestKernelRoute(t *testing.T) {
	host.Need(t)
	location := foreignRoot(t)
	registry := binfmt.Registry{Dir: binfmt.Dir}
	emulator := need.Emulator(t, "aarch64")
	abi := arch.Get("aarch64")
	o := options(t, location)
	o.Route = RouteKernel
	_, err := Create(o)
	assert.ErrorContains(t, err, "binproxy binfmt register aarch64")

	require.NoError(t, registry.Register(binfmt.ForABI(abi, emulator, "OC")))
	_, err = Create(o)
	assert.ErrorContains(t, err, "no entry with flag F", "without F the emulator would have to be in the root")
	require.NoError(t, registry.Unregister("qemu-aarch64"))

	require.NoError(t, registry.Register(binfmt.ForABI(abi, emulator, "PF")))
	defer func() { require.NoError(t, registry.Unregister("qemu-aarch64")) }()
	o.Route = ""
	before := host.Mounts(t)
	c, err := Create(o)
	require.NoError(t, err)
	assert.Equal(t, RouteKernel, c.Route)
	assert.FileExists(t, RootStore+"/aarch64")
	pinned, err := exec.Command("nsenter", "--mount="+RootStore+"/aarch64", "--wd=/", "/bin/sh").CombinedOutput()
	var status *exec.ExitError
	require.True(t, errors.As(err, &status), "%v %s", err, pinned)
	assert.Equal(t, tiny.Status, status.ExitCode(), "by nsenter, as in the post")
	require.NoError(t, Remove("aarch64"))
	assert.Equal(t, before, host.Mounts(t))
	assert.NoDirExists(t, RootStore)
}

func TestRefusals(t *testing.T) {
	host.Need(t)
	need.Emulator(t, "aarch64")
	location := foreignRoot(t)
	dir := filepath.Dir(location)
	require.NoError(t, os.Symlink(location, dir+"/link"))
	require.NoError(t, os.Mkdir(dir+"/empty", 0o755))
	require.NoError(t, os.WriteFile(dir+"/file", nil, 0o644))
	loop := foreignRoot(t)
	require.NoError(t, os.Symlink("/proc", loop+"/proc"))
	noexec, nosuid := foreignRoot(t), foreignRoot(t)
	for path, option := range map[string]string{noexec: "noexec", nosuid: "nosuid"} {
		require.NoError(t, exec.Command("mount", "--bind", path, path).Run())
		require.NoError(t, exec.Command("mount", "-o", "remount,bind,"+option, path).Run())
		defer exec.Command("umount", path).Run()
	}
	for says, change := range map[string]func(*Options){
		"host's own root":                      func(o *Options) { o.Location = "/" },
		"the location is missing":              func(o *Options) { o.Location = "" },
		"no such file or directory; `binproxy": func(o *Options) { o.Location = dir + "/none" },
		"is a symbolic link, to " + location:   func(o *Options) { o.Location = dir + "/link" },
		"is no directory":                      func(o *Options) { o.Location = dir + "/file" },
		"has no /bin/sh":                       func(o *Options) { o.Location = dir + "/empty" },
		"mounted noexec":                       func(o *Options) { o.Location = noexec },
		"is a root of aarch64":                 func(o *Options) { o.ABI = arch.Get("riscv64") },
		"no name for a container":              func(o *Options) { o.Name = "../x" },
		"a symbolic link that leads to itself": func(o *Options) { o.Location = loop },
		"--bind /nowhere: stat /nowhere":       func(o *Options) { o.Binds = []string{"/nowhere"} },
		"not its root":                         func(o *Options) { o.Binds = []string{"/tmp:/"} },
		"not an ELF file":                      func(o *Options) { o.Emulator = "/etc/passwd" },
	} {
		o := options(t, location)
		change(&o)
		_, err := Create(o)
		assert.ErrorContains(t, err, says)
	}
	var warned string
	o := options(t, nosuid)
	o.Warn = func(format string, args ...any) { warned = fmt.Sprintf(format, args...) }
	_, err := Create(o)
	require.NoError(t, err)
	assert.Contains(t, warned, "nosuid: sudo, su")
	require.NoError(t, Remove("aarch64"))
}

// One of two simultaneous creates of a name wins; the other says that it exists.
func TestTwoAtOnce(t *testing.T) {
	as(t, func(t *testing.T) {
		location := foreignRoot(t)
		results := make(chan error)
		for range 2 {
			go func() { _, err := Create(options(t, location)); results <- err }()
		}
		first, second := <-results, <-results
		if first == nil {
			first, second = second, first
		}
		assert.NoError(t, second)
		assert.ErrorContains(t, first, "container aarch64 exists, with "+location)
		require.NoError(t, Remove("aarch64"))
		assert.ErrorContains(t, Remove("aarch64"), "there is no container aarch64")
	})
}

// The host's mounts appear in the root, wherever the root's links point.
func TestPlacesStayInTheRoot(t *testing.T) {
	dir := foreignRoot(t)
	require.NoError(t, os.Symlink("/usr/home", dir+"/home"))
	require.NoError(t, os.Symlink("../../../../../../tmp/escape", dir+"/etc"))
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	var made []string
	for _, m := range []mount{{Source: "/home", At: "/home"}, {Source: "/etc/resolv.conf", At: "/etc/resolv.conf", File: true}} {
		f, err := m.place(root, &made)
		require.NoError(t, err)
		f.Close()
	}
	assert.DirExists(t, dir+"/usr/home")
	assert.FileExists(t, dir+"/tmp/escape/resolv.conf")
	unmake(root, made)
	assert.Equal(t, []string{dir, dir + "/bin", dir + "/bin/sh", dir + "/etc", dir + "/home"}, tree(t, dir))
}

func openFile(path string) (io.ReadCloser, error) { return os.Open(path) }

func TestAccounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	require.NoError(t, os.WriteFile(path, []byte("root:x:0:0:root:/root:/bin/bash\nbad:x:y:z:::\nshort:x\nme:x:1000:100:,,,:/home/me:\n"), 0o644))
	a, ok, err := lookUp(openFile, path, func(a account) bool { return a.UID == 1000 })
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, account{Name: "me", UID: 1000, GID: 100, Home: "/home/me"}, a)
	_, ok, err = lookUp(openFile, path+"none", func(account) bool { return true })
	assert.NoError(t, err)
	assert.False(t, ok)
	require.NoError(t, os.WriteFile(path, []byte("sudo:x:27:you,me\nusers:x:100:\nx:x:5:mee\n"), 0o644))
	gids, err := memberships(openFile, path, "me")
	require.NoError(t, err)
	assert.Equal(t, []int{27}, gids)
	assert.Contains(t, environment([]string{"TMPDIR=/", "TMP=/nowhere"}, nil, isDir), "TMPDIR=/", "one that is there")
	assert.Equal(t, []string{"A=1", "HOME=/h", "LOGNAME=", "PATH=/p", "SHELL=", "USER="},
		environment([]string{"A=1", "LD_PRELOAD=x", "HOME=/old", "TMPDIR=/nowhere/tmp"}, map[string]string{"HOME": "/h", "PATH": "/p", "USER": "", "LOGNAME": "", "SHELL": ""}, isDir))
}
