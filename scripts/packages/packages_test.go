package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/apt"
	"binproxy/test/lib/archive"
	"binproxy/test/lib/need"
)

// result is the result of a run of the program.
type result struct {
	said  string // the log, with apt-get's words
	err   error
	noted string // for the tests
}

// patience is short; a mirror that fails in passing needs a retry.
var patience = apt.Patience{Answer: time.Second, Lock: time.Second}

// bring runs the program for a list of names, on a machine that is a directory, with little
// patience.
func bring(t *testing.T, required bool, names ...string) result {
	t.Helper()
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	list := filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(list, []byte("# what for\n"+strings.Join(names, " for a test\n")+"\n"), 0o644))
	var log bytes.Buffer
	err := run(machine{log: &log, asking: patience, downloading: patience}, required, list)
	noted, _ := os.ReadFile(filepath.Join(cache, "binproxy/not-installed"))
	return result{said: log.String(), err: err, noted: string(noted)}
}

// verdict is the program's own last line.
func (r result) verdict() string {
	lines := strings.Split(strings.TrimSpace(r.said), "\n")
	return lines[len(lines)-1]
}

// has reports whether a version of a package is installed in a root.
func has(t *testing.T, root, name, version string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "usr/share", name, "version"))
	left, absentErr := absent([]string{name})
	require.NoError(t, absentErr)
	return err == nil && string(text) == version+"\n" && len(left) == 0
}

// fleet is an archive of packages 1 to 8, of which 5 needs 8; apt's lists are those of these
// versions.
func fleet(t *testing.T) (*archive.Archive, string) {
	t.Helper()
	need.Root(t)
	a := archive.New(t)
	for _, name := range strings.Fields(all8) {
		var depends []string
		if name == "p5" {
			depends = append(depends, "Depends: p8")
		}
		a.Add(name, "1", nil, depends...)
	}
	a.Index()
	root := archive.Configure(t, a.URL)
	_, err := apt.Get{Patience: apt.Once()}.Run(t.Context(), "update")
	require.NoError(t, err)
	return a, root
}

const all8 = "p1 p2 p3 p4 p5 p6 p7 p8"

// Every package comes, and a second run does nothing.
func TestInstalls(t *testing.T) {
	a, root := fleet(t)
	r := bring(t, true, "p1", "p5")
	require.NoError(t, r.err, r.said)
	assert.True(t, has(t, root, "p1", "1"))
	assert.True(t, has(t, root, "p8", "1"), "what another depends on")
	before := a.Asked("")
	r = bring(t, true, "p1", "p5")
	assert.Equal(t, result{}, r)
	assert.Equal(t, before, a.Asked(""))
}

// The lists name a version that the archive no longer has.
func TestStaleLists(t *testing.T) {
	a, root := fleet(t)
	a.Remove("p3", "1")
	a.Add("p3", "2", nil)
	a.Index()
	r := bring(t, true, strings.Fields(all8)...)
	require.NoError(t, r.err, r.said)
	assert.True(t, has(t, root, "p3", "2"))
	assert.True(t, has(t, root, "p4", "1"))
}

// A package that is gone for good, whether or not the lists still name it, stops no other; neither
// does one that depends on it.
func TestGone(t *testing.T) {
	a, root := fleet(t)
	a.Remove("p8", "1") // but the index has it, so p5 cannot come either
	names := append(strings.Fields(all8), "never")
	r := bring(t, false, names...)
	require.NoError(t, r.err, r.said)
	for _, name := range []string{"p1", "p2", "p3", "p4", "p6", "p7"} {
		assert.True(t, has(t, root, name, "1"), name)
	}
	left, err := absent(names)
	require.NoError(t, err)
	assert.Equal(t, []string{"p5", "p8", "never"}, left)
	why := "apt-get install: " + a.URL + "/pool/p8_1_all.deb: 404  Not Found"
	assert.Equal(t, "packages: the tests that need what is not installed skip: never (apt-get install: Unable to locate package never); p5 p8 ("+why+"). "+
		"To install it: sudo sh -c 'apt-get update; apt-get install -y --no-install-recommends never p5 p8'", r.verdict())
	assert.Equal(t, "never\tapt-get install: Unable to locate package never\np5\t"+why+"\np8\t"+why+"\n", r.noted)
	broken, err := exec.Command("dpkg", "--audit").Output()
	require.NoError(t, err)
	assert.Empty(t, string(broken), "a package without what it depends on")

	r = bring(t, true, names...)
	assert.EqualError(t, r.err, "what is needed here is not installed: never (apt-get install: Unable to locate package never); p5 p8 ("+why+"). "+
		"To install it: sudo sh -c 'apt-get update; apt-get install -y --no-install-recommends never p5 p8'")
	assert.Empty(t, r.noted, "what the tests say is another list's")
}

// A mirror that is busy, or cuts a file, is asked again.
func TestHiccup(t *testing.T) {
	for name, how := range map[string]func(*archive.Archive){
		"busy": func(a *archive.Archive) { a.Fail("/p3_1_all.deb", 1, archive.Busy) },
		"cut":  func(a *archive.Archive) { a.Fail("/p3_1_all.deb", 1, a.Cut) },
		"busy with the index": func(a *archive.Archive) {
			a.Index()
			a.Fail("/InRelease", 1, archive.Busy)
			a.Fail("/Release", 1, archive.Busy)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, root := fleet(t)
			how(a)
			patience.Retries = 1
			defer func() { patience.Retries = 0 }()
			r := bring(t, true, "p2", "p3")
			require.NoError(t, r.err, r.said)
			assert.True(t, has(t, root, "p3", "1"))
			assert.True(t, has(t, root, "p2", "1"))
		})
	}
}

// Without a network the run ends soon: it takes apt's own patience for each index, not for each
// package. It installs what was downloaded before.
func TestNoNetwork(t *testing.T) {
	for name, address := range map[string]func(testing.TB) string{"nobody listens": archive.Nobody, "nobody answers": archive.Silent} {
		t.Run(name, func(t *testing.T) {
			fleet(t)
			url := address(t)
			aptSources(t, url)
			r := bring(t, false, strings.Fields(all8)...)
			require.NoError(t, r.err)
			assert.Contains(t, r.verdict(), "packages: the tests that need what is not installed skip: no package archive answers: apt-get update: "+url+"/dists/testing/InRelease: ")
			assert.Contains(t, r.verdict(), ". To install it: sudo sh -c 'apt-get update; apt-get install -y --no-install-recommends "+all8+"'")
			assert.NotContains(t, r.said, "/pool/")
			assert.Equal(t, 8, strings.Count(r.noted, "no package archive answers"))
			r = bring(t, true, "p1")
			assert.ErrorContains(t, r.err, "what is needed here is not installed: no package archive answers: ")
		})
	}
	t.Run("downloaded before", func(t *testing.T) {
		a, root := fleet(t)
		_, err := apt.Get{Patience: apt.Once()}.Run(t.Context(), "install", "--download-only", "p5")
		require.NoError(t, err)
		a.Fail("Release", -1, archive.Busy)
		r := bring(t, true, "p5", "p8")
		require.NoError(t, r.err, r.said)
		assert.True(t, has(t, root, "p8", "1"))
	})
}

// aptSources replaces the archives of the test's apt-get; its lists stay.
func aptSources(t *testing.T, urls ...string) {
	t.Helper()
	path := filepath.Join(filepath.Dir(os.Getenv("APT_CONFIG")), "etc/sources.list")
	var text string
	for _, url := range urls {
		text += "deb [trusted=yes] " + url + " " + archive.Suite + " main\n"
	}
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// A source of somebody else's that is down, or refuses, is not needed.
func TestAnotherSourceIsDown(t *testing.T) {
	refusing := archive.New(t)
	refusing.Fail("Release", -1, archive.Busy)
	for name, url := range map[string]string{"nobody listens": archive.Nobody(t), "nobody answers": archive.Silent(t), "busy": refusing.URL} {
		t.Run(name, func(t *testing.T) {
			a, root := fleet(t)
			aptSources(t, url, a.URL)
			r := bring(t, true, "p1", "p5")
			require.NoError(t, r.err, r.said)
			assert.True(t, has(t, root, "p5", "1"))
		})
	}
}

// After a dpkg was killed while it configured a package, the next apt-get refuses everything.
func TestInterruptedDpkg(t *testing.T) {
	a, root := fleet(t)
	killer := map[string]string{"postinst": "#!/bin/sh\n[ -e " + root + "/second ] || { : >" + root + "/second; kill -9 $PPID; }\n"}
	a.Add("killer", "1", killer)
	a.Index()
	_, err := apt.Get{Patience: apt.Once()}.Run(t.Context(), "update")
	require.NoError(t, err)
	_, err = apt.Get{Patience: apt.Once()}.Run(t.Context(), "install", "killer")
	require.Error(t, err)
	_, err = apt.Get{Patience: apt.Once()}.Run(t.Context(), "install", "p1")
	require.ErrorContains(t, err, "dpkg was interrupted")

	r := bring(t, true, "p2", "p3")
	require.NoError(t, r.err, r.said)
	assert.Contains(t, r.said, "packages: dpkg was interrupted in what it did last; it goes on with that: dpkg --configure -a\n")
	assert.True(t, has(t, root, "p3", "1"))
	assert.True(t, has(t, root, "killer", "1"))
}

// A package whose script fails is named with dpkg's reason, and stops no other.
func TestBrokenPackage(t *testing.T) {
	a, root := fleet(t)
	a.Add("broken", "1", map[string]string{"postinst": "#!/bin/sh\nexit 3\n"})
	a.Index()
	r := bring(t, false, "p1", "broken", "p2", "p3")
	require.NoError(t, r.err, r.said)
	for _, name := range []string{"p1", "p2", "p3"} {
		assert.True(t, has(t, root, name, "1"), name)
	}
	assert.Equal(t, "broken\tapt-get install: dpkg: error processing package broken (--configure): "+
		"installed broken package post-installation script subprocess returned error exit status 3\n", r.noted)
}

// A conflict between two packages costs one of them.
func TestConflict(t *testing.T) {
	a, root := fleet(t)
	a.Add("foe", "1", nil, "Conflicts: p2")
	a.Index()
	r := bring(t, false, "p1", "p2", "p3", "foe")
	require.NoError(t, r.err, r.said)
	for _, name := range []string{"p1", "p2", "p3"} {
		assert.True(t, has(t, root, name, "1"), name)
	}
	assert.Equal(t, "foe\tapt-get install: Packages need to be removed but remove is disabled.\n", r.noted)
}

// A system on which apt-get refuses to work is reported once, with apt-get's advice, and not for
// each package.
func TestBrokenSystem(t *testing.T) {
	_, root := fleet(t)
	status := "Package: half\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.invalid>\nDepends: missing\nDescription: x\n\n"
	require.NoError(t, os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), []byte(status), 0o644))
	r := bring(t, false, "p1", "p2", "p3", "p4")
	require.NoError(t, r.err, r.said)
	assert.Contains(t, r.verdict(), "skip: apt-get install: Unmet dependencies. Try 'apt --fix-broken install'")
	assert.Equal(t, 1, strings.Count(r.said, "E: Unmet dependencies. Try"), r.said)
}

// A run waits for another apt or dpkg, but not for ever.
func TestLocked(t *testing.T) {
	for _, lock := range []string{"root/var/lib/dpkg/lock-frontend", "state/lists/lock"} {
		t.Run(filepath.Base(filepath.Dir(lock)), func(t *testing.T) {
			_, root := fleet(t)
			path := filepath.Join(filepath.Dir(root), lock)
			release := hold(t, path)
			r := bring(t, false, "p1", "p2")
			assert.Regexp(t, "skip: apt-get (install|update): (Could not get lock|Unable to acquire the dpkg frontend lock) ", r.verdict())
			assert.LessOrEqual(t, strings.Count(r.said, "Waiting for cache lock"), 1, r.said)
			usual := patience.Lock
			defer func() { patience.Lock = usual }()
			patience.Lock = time.Minute
			time.AfterFunc(time.Second/2, release)
			r = bring(t, true, "p1", "p2")
			require.NoError(t, r.err, r.said)
			assert.True(t, has(t, root, "p1", "1"))
		})
	}
}

// hold locks a file as dpkg does, by a process of its own: such a lock works only against other
// processes.
func hold(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	require.NoError(t, err)
	require.NoError(t, syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK}))
	t.Cleanup(func() { f.Close() })
	return func() { f.Close() }
}

// An ordinary user, and a machine without apt-get, get the line to run. Only a required list is an
// error.
func TestNotPossible(t *testing.T) {
	program := filepath.Join(t.TempDir(), "packages")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	list := filepath.Join(filepath.Dir(program), "list")
	require.NoError(t, os.WriteFile(list, []byte("# a comment\nno-such-package-b  for a test\n\nno-such-package-a\n"), 0o644))
	need.Program(t, "dpkg-query", "dpkg")
	query, err := exec.LookPath("dpkg-query")
	require.NoError(t, err)
	bare := t.TempDir()
	require.NoError(t, os.Symlink(query, filepath.Join(bare, "dpkg-query")))
	for _, tt := range []struct{ name, path, want string }{
		{"ordinary user", os.Getenv("PATH"), "installing takes root. " +
			"To install it: sudo sh -c 'apt-get update; apt-get install -y --no-install-recommends no-such-package-a no-such-package-b'\n"},
		{"no apt-get", bare, "there is no apt-get. Install what this machine has in the place of Debian's no-such-package-a no-such-package-b\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, required := range []bool{false, true} {
				home := t.TempDir()
				args, want := []string{list}, "packages: the tests that need what is not installed skip: "
				if required {
					args, want = []string{"--required", list}, "packages: what is needed here is not installed: "
				}
				cmd := exec.Command(program, args...)
				cmd.Env = []string{"PATH=" + tt.path, "HOME=" + home}
				if os.Geteuid() == 0 && tt.path != bare {
					for _, dir := range []string{filepath.Dir(program), home} {
						require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) // the test's own
					}
					require.NoError(t, os.Chown(home, 65534, 65534))
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
				}
				out, err := cmd.CombinedOutput()
				assert.Equal(t, required, err != nil, "%v: %s", err, out)
				assert.Equal(t, want+tt.want, string(out))
			}
		})
	}
}
