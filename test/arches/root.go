// Package arches runs programs of every release architecture of Debian, from that architecture's
// own packages, under `binproxy run`.
package arches

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
)

// packages are the contents of a root: a static program with many names, a shell, and that shell's
// loader and library.
var packages = []string{"busybox-static", "dash", "libc6"}

// merged are the links from / to /usr over which bookworm's packages of both kinds can be
// unpacked.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64"}

// unpack makes tar keep the links to /usr where the package, $1, has directories.
const unpack = `dpkg-deb --fsys-tarfile "$1" | tar --keep-directory-symlink --no-same-owner -C "$2" -xf -`

// root is a small root of the architecture (Debian's name): the packages' files, nothing
// configured, no /proc. Tests share it, and do not change it.
func root(t testing.TB, suite, arch string) string {
	t.Helper()
	p := debs.Of(suite, arch, packages...)
	f := fixture.Fixture{
		Name: "arches/" + suite + "-" + arch, What: p.String(), From: p.From(slices.Concat(merged, []string{unpack})...),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			if err := usrMerged(made); err != nil {
				return err
			}
			files, err := p.Download(ctx, work, held)
			if err != nil {
				return err
			}
			for _, deb := range files {
				cmd := exec.CommandContext(ctx, "sh", "-c", unpack, "sh", deb, made)
				cmd.ExtraFiles = []*os.File{held}
				if out, err := cmd.CombinedOutput(); err != nil {
					return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(deb), err, out)
				}
			}
			return nil
		},
	}
	return f.For(t)
}

func usrMerged(dir string) error {
	for _, d := range merged {
		if err := os.MkdirAll(filepath.Join(dir, "usr", d), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+d, filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(dir, "tmp"), 0o777)
}
