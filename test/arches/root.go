// Package arches runs programs of every release architecture of Debian, from that architecture's own packages, under `binproxy run`.
package arches

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"binproxy/test/debs"
)

// packages are what a root has: a static program that is many, a shell, and that shell's loader and library.
var packages = []string{"busybox-static", "dash", "libc6"}

// root is a small root of the architecture (Debian's name): the packages' files, nothing configured, no /proc. It is shared: tests do not change it.
func root(t testing.TB, suite, arch string) string {
	t.Helper()
	what := fmt.Sprintf("packages of Debian %s for %s", suite, arch)
	return debs.Made(t, filepath.Join("arches", suite+"-"+arch), what, func(ctx context.Context, work, made string) error {
		if err := usrMerged(made); err != nil {
			return err
		}
		files, err := debs.Download(ctx, suite, arch, work, packages...)
		if err != nil {
			return err
		}
		for _, deb := range files {
			if err := unpack(ctx, deb, made); err != nil {
				return err
			}
		}
		return nil
	})
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
