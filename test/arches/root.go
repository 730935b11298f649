// Package arches runs programs of every release architecture of Debian, from that architecture's own packages, under `binproxy run`.
package arches

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"binproxy/test/lab"
	"binproxy/test/need"
)

// keyring has the keys of all suites (package debian-archive-keyring, which apt depends on in Debian).
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// packages are what a root has: a static program that is many, a shell, and that shell's loader and library.
var packages = []string{"busybox-static", "dash", "libc6"}

// root is a small root of the architecture (Debian's name): the packages' files, nothing configured, no /proc. It is shared: tests do not change it.
func root(t testing.TB, suite, arch string) string {
	t.Helper()
	cache, err := lab.Cache()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "arches", suite+"-"+arch)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	need.Program(t, "apt-get", "apt")
	need.Program(t, "dpkg-deb", "dpkg")
	if err := makeRoot(t.Context(), suite, arch, dir); err != nil {
		need.Installed(t, false, fmt.Sprintf("packages of Debian %s for %s: %v", suite, arch, err))
	}
	return dir
}

// makeRoot fetches the packages with apt, by lists of its own that it drops afterwards: what the machine's apt knows is not touched.
func makeRoot(ctx context.Context, suite, arch, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, "root")
	if err := usrMerged(made); err != nil {
		return err
	}
	if err := download(ctx, suite, arch, work); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(debs) != len(packages) {
		return errors.Join(err, fmt.Errorf("apt-get download gave %d packages of %d", len(debs), len(packages)))
	}
	for _, deb := range debs {
		if err := unpack(ctx, deb, made); err != nil {
			return err
		}
	}
	return os.Rename(made, dir)
}

// usrMerged makes the links from / to /usr that bookworm's packages of both kinds can be unpacked over.
func usrMerged(dir string) error {
	for _, d := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr", d), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+d, filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(dir, "tmp"), 0o777)
}

// unpack has tar keep the links to /usr where the package has directories.
func unpack(ctx context.Context, deb, dir string) error {
	script := `dpkg-deb --fsys-tarfile "$1" | tar --keep-directory-symlink --no-same-owner -C "$2" -xf -`
	if out, err := exec.CommandContext(ctx, "sh", "-c", script, "sh", deb, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(deb), err, out)
	}
	return nil
}

func download(ctx context.Context, suite, arch, work string) error {
	mirror, err := lab.Mirror(ctx)
	if err != nil || mirror == "" {
		return errors.Join(err, errors.New("the machine's apt names no Debian mirror"))
	}
	state := filepath.Join(work, "apt")
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, d), 0o755); err != nil {
			return err
		}
	}
	list := filepath.Join(state, "sources.list")
	line := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, mirror, suite)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		return err
	}
	options := []string{"-q"}
	for _, o := range []string{
		"Dir::Etc::SourceList=" + list, "Dir::Etc::SourceParts=-", "Dir::State::Lists=" + filepath.Join(state, "lists"),
		"Dir::State::status=/dev/null", "Dir::Cache=" + filepath.Join(state, "cache"), "APT::Sandbox::User=",
		"APT::Architecture=" + arch, "APT::Architectures::=" + arch, "Acquire::Languages=none",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	} {
		options = append(options, "-o", o)
	}
	for _, command := range [][]string{{"update"}, append([]string{"download"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", append(options, command...)...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}
