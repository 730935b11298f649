package farm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/config"
	"binproxy/emu/growing"
	"binproxy/test/lib/need"
	"binproxy/test/lib/snapshot"
)

// The variables with which a test starts itself again, to be killed before change KILL_AT.
const (
	envDo    = "FARM_TEST_DO"
	envRoot  = "FARM_TEST_ROOT"
	envAt    = "FARM_TEST_KILL_AT"
	envPlain = "FARM_TEST_NO_EXCHANGE"
	envMount = "FARM_TEST_IN_NAMESPACE"
	envPower = "FARM_TEST_LOSE_POWER"
)

func TestMain(m *testing.M) {
	fsync = func(*os.File) error { return nil } // nobody takes this machine's power away
	if os.Getenv(envPlain) != "" {
		exchange = cannotExchange
	}
	if what := os.Getenv(envDo); what != "" {
		os.Exit(victim(what, os.Getenv(envRoot)))
	}
	os.Exit(m.Run())
}

func cannotExchange(_ *growing.Names, a, b string) error { return errors.ErrUnsupported }

// victim does one thing to the image, and kills itself before the change that it was told.
func victim(what, root string) int {
	left, _ := strconv.Atoi(os.Getenv(envAt))
	journal := filepath.Join(root, "binproxy", JournalName)
	onDisk, _ := os.ReadFile(journal)
	fsync = func(f *os.File) (err error) {
		if f.Name() == journal {
			onDisk, err = os.ReadFile(journal)
		}
		return err
	}
	step = func() {
		if left--; left == 0 {
			if os.Getenv(envPower) != "" && exists(journal) {
				if err := os.Truncate(journal, int64(len(onDisk))); err != nil {
					panic(err)
				}
			}
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	cfg, err := config.Load(filepath.Join(root, "binproxy"))
	if err == nil {
		if what == "clean" {
			_, err = Clean(cfg)
		} else {
			_, err = Install(cfg, at(root))
		}
	}
	if err != nil {
		println(err.Error())
		return 1
	}
	return 0
}

// losePower has victims end as if the power were lost: what was written to the journal but is not
// on the disk is lost, too.
func losePower(t *testing.T, lose bool) {
	value := ""
	if lose {
		value = "1"
	}
	t.Setenv(envPower, value)
}

// killed starts a victim; false if it finished unharmed.
func killed(t *testing.T, what, root string, n int) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envDo+"="+what, envRoot+"="+root, envAt+"="+strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	var status *exec.ExitError
	if errors.As(err, &status) {
		require.Equal(t, syscall.SIGKILL, status.Sys().(syscall.WaitStatus).Signal(), "%v", err)
		return true
	}
	require.NoError(t, err)
	return false
}

// killEverywhere stops install and clean before each of their changes. fresh makes a new image and
// returns its root.
func killEverywhere(t *testing.T, fresh func(t *testing.T) string) {
	for n := 1; ; n++ {
		root := fresh(t)
		before := snapshotOf(t, root)
		cfg := bundle(t, root)
		hit := killed(t, "install", root, n)
		nothingLost(t, cfg, root)
		_, err := Inspect(cfg, at(root).Path)
		require.NoError(t, err)
		if n%2 == 0 { // half of them are cleaned at once, half are installed first
			tear(t, cfg)
			_, err := Install(cfg, at(root))
			require.NoError(t, err)
			nothingLost(t, cfg, root)
			status, err := Inspect(cfg, at(root).Path)
			require.NoError(t, err)
			require.Empty(t, status.Remarks)
		}
		cleaned, err := Clean(reload(t, cfg))
		require.NoError(t, err)
		snapshot.Same(t, before, snapshotOf(t, root))
		require.NoDirExists(t, cfg.Dir)
		expected(t, cleaned)
		if !hit {
			t.Logf("install makes %d changes", n-1)
			break
		}
	}
	for n := 1; ; n++ {
		root := fresh(t)
		before := snapshotOf(t, root)
		cfg := bundle(t, root)
		_, err := Install(cfg, at(root))
		require.NoError(t, err)
		hit := killed(t, "clean", root, n)
		last := !exists(cfg.Dir)
		nothingLost(t, cfg, root)
		if n%2 == 0 && exists(cfg.Self()) && exists(filepath.Join(cfg.Dir, config.Name)) {
			_, err := Install(reload(t, cfg), at(root))
			require.NoError(t, err)
			nothingLost(t, cfg, root)
		}
		if exists(filepath.Join(cfg.Dir, config.Name)) {
			cleaned, err := Clean(reload(t, cfg))
			require.NoError(t, err)
			expected(t, cleaned)
		}
		after := snapshotOf(t, root)
		if last && hit {
			// After the bundle's removal nothing is left that has its directory's time.
			after[0] = before[0]
		}
		snapshot.Same(t, before, after)
		if !hit {
			t.Logf("clean makes %d changes", n-1)
			break
		}
	}
}

// TestDivertedAfterKilledClean: wherever a clean was killed, the next install starts anew. A link
// that dpkg-divert then renames gets its file back, whatever the killed clean recorded of it.
func TestDivertedAfterKilledClean(t *testing.T) {
	for n, hit := 1, true; hit; n++ {
		root := freshTree(t)
		cfg := bundle(t, root)
		_, err := Install(cfg, at(root))
		require.NoError(t, err)
		perl5 := filepath.Join(root, "usr/bin/perl5")
		part(t, Aside(perl5))
		hit = killed(t, "clean", root, n)
		if !exists(cfg.Self()) || !exists(filepath.Join(cfg.Dir, config.Name)) {
			continue
		}
		_, err = Install(reload(t, cfg), at(root))
		require.NoError(t, err)
		require.NoError(t, os.Rename(perl5, perl5+".distrib"))
		_, err = Clean(reload(t, cfg))
		require.NoError(t, err)
		for _, name := range []string{"perl", "perl5.distrib"} {
			text, err := os.ReadFile(filepath.Join(root, "usr/bin", name))
			require.NoError(t, err, "killed before change %d", n)
			require.Equal(t, guest("perl"), string(text))
		}
	}
}

// part copies a file that is a hard link, as an overlay file system does.
func part(t *testing.T, path string) {
	out, err := exec.Command("cp", "-a", path, path+".copy").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Rename(path+".copy", path))
}

// expected checks that clean reports only links that are not install's.
func expected(t *testing.T, cleaned Cleaned) {
	t.Helper()
	for _, remark := range cleaned.Remarks {
		if !strings.HasSuffix(remark, ": not made by install: kept") || !strings.Contains(remark, "/"+ownFarm+"/") {
			require.Equal(t, "nothing was installed", remark)
		}
	}
}

// tear leaves half a line at the journal's end, like an interrupted write.
func tear(t *testing.T, cfg config.Config) {
	f, err := os.OpenFile(filepath.Join(cfg.Dir, JournalName), os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	_, err = f.WriteString(`place "/usr/bin/da`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func freshTree(t *testing.T) string {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	tree(t, root, root)
	return root
}

func overriddenTree(t *testing.T) string {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	overridden(t, root, root)
	return root
}

func TestPowerLostAtEachChange(t *testing.T) {
	need.Long(t)
	losePower(t, true)
	killEverywhere(t, freshTree)
}

func TestKilledAtEachChange(t *testing.T) { killEverywhere(t, freshTree) }

// TestKilledAtEachChangeOfALink has links in the farm that install did not make.
func TestKilledAtEachChangeOfALink(t *testing.T) {
	need.Long(t)
	killEverywhere(t, overriddenTree)
}

func TestKilledAtEachChangeWithoutExchange(t *testing.T) {
	need.Long(t)
	t.Setenv(envPlain, "1")
	saved := exchange
	exchange = cannotExchange
	defer func() { exchange = saved }()
	killEverywhere(t, freshTree)
}

// TestKilledAtEachChangeOnOverlay runs the test in its own mount namespace, on the kind of file
// system on which images are built. It copies a file up when its name changes, which separates the
// file from its hard links.
func TestKilledAtEachChangeOnOverlay(t *testing.T) {
	inOverlay(t, func(overlay func(t *testing.T) string) { killEverywhere(t, overlay) })
}

// inOverlay runs the calling test again in a mount namespace, and calls do there with a function
// that mounts a fresh tree.
func inOverlay(t *testing.T, do func(fresh func(t *testing.T) string)) {
	need.Root(t)
	if os.Getenv(envMount) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), envMount+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "--- SKIP") {
			t.Skip(strings.TrimSpace(string(out)))
		}
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS")
		return
	}
	base := t.TempDir()
	require.NoError(t, syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	require.NoError(t, syscall.Mount("tmpfs", base, "tmpfs", 0, ""))
	lower, root := filepath.Join(base, "lower"), filepath.Join(base, "root")
	require.NoError(t, os.Mkdir(lower, 0o755))
	require.NoError(t, os.Mkdir(root, 0o755))
	tree(t, lower, root)
	n, mounted := 0, false
	unmount := func() {
		if mounted {
			require.NoError(t, syscall.Unmount(root, syscall.MNT_DETACH))
		}
		mounted = false
	}
	t.Cleanup(func() {
		unmount()
		require.NoError(t, syscall.Unmount(base, syscall.MNT_DETACH))
	})
	do(func(t *testing.T) string {
		unmount()
		n++
		upper, work := filepath.Join(base, "upper"+strconv.Itoa(n)), filepath.Join(base, "work"+strconv.Itoa(n))
		require.NoError(t, os.Mkdir(upper, 0o755))
		require.NoError(t, os.Mkdir(work, 0o755))
		err := syscall.Mount("overlay", root, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work)
		need.Given(t, err == nil, "an overlay file system")
		mounted = true
		require.NoError(t, os.Chtimes(root, fileTime(lower), fileTime(lower)))
		return root
	})
}
