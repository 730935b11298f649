// Package debs gives tests single Debian packages of any suite, unpacked, in the cache.
//
// apt fetches them with lists of its own for each suite: what the machine's apt knows and installs is not touched.
package debs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"binproxy/test/lab"
	"binproxy/test/need"
)

// keyring has the keys of all suites (package debian-archive-keyring, which apt depends on in Debian).
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Unpacked returns a directory with the files of a package of amd64. The test is skipped where it cannot be fetched.
func Unpacked(t testing.TB, suite, name string) string {
	t.Helper()
	cache, err := lab.Cache()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "debs", suite, name)
	unlock, err := lock(filepath.Join(cache, "debs", suite))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := fetch(t.Context(), suite, name, dir); err != nil {
		need.Installed(t, false, fmt.Sprintf("package %s of Debian %s: %v", name, suite, err))
	}
	return dir
}

// lock keeps test processes side by side from fetching the same.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func fetch(ctx context.Context, suite, name, dir string) error {
	apt, err := newApt(ctx, suite, filepath.Dir(dir))
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := apt.run(ctx, work, "download", name); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(found) != 1 {
		return errors.Join(err, fmt.Errorf("apt-get download gave %d files", len(found)))
	}
	unpacked := filepath.Join(work, "root")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", found[0], unpacked).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w\n%s", err, out)
	}
	return os.Rename(unpacked, dir)
}

// apt is apt-get with a configuration of its own.
type apt []string

// newApt writes the configuration of a suite, and fetches its lists where they are not there yet.
func newApt(ctx context.Context, suite, dir string) (apt, error) {
	mirror, err := lab.Mirror(ctx)
	if err != nil || mirror == "" {
		return nil, errors.Join(err, errors.New("the machine's apt names no Debian mirror"))
	}
	state := filepath.Join(dir, "apt")
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, d), 0o755); err != nil {
			return nil, err
		}
	}
	list := filepath.Join(state, "sources.list")
	a := apt{
		"-o", "Dir::Etc::SourceList=" + list, "-o", "Dir::Etc::SourceParts=-", "-o", "Dir::State::Lists=" + filepath.Join(state, "lists"),
		"-o", "Dir::State::status=/dev/null", "-o", "Dir::Cache=" + filepath.Join(state, "cache"), "-o", "APT::Sandbox::User=", "-o", "APT::Architecture=amd64", "-o", "APT::Architectures::=amd64",
		"-o", "Acquire::Languages=none", "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	}
	if _, err := os.Stat(list); err == nil {
		return a, nil
	}
	line := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, mirror, suite)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		return nil, err
	}
	if err := a.run(ctx, state, "update"); err != nil {
		os.Remove(list)
		return nil, err
	}
	return a, nil
}

func (a apt) run(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append(append([]string{"-q"}, a...), args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}
