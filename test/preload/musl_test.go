package preload

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"binproxy/emu/arch"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/musl"
	"binproxy/test/lib/need"
)

// applets are the applets that busybox needs, and their features: awk's system is one.
var applets = []string{
	"ASH", "SH_IS_ASH", "AWK", "CAT", "CP", "DATE", "ECHO", "ENV", "FEATURE_ALLOW_EXEC", "FEATURE_FIND_EXEC", "FIND", "GREP", "KILL", "LONG_OPTS", "PIE", "SORT",
	"UNAME", "XARGS",
}

// muslRoot is the archive of a root like Alpine's: musl, and a busybox that its loader loads, both
// from Debian's sources. (Debian's own busybox uses glibc, or is static.)
func muslRoot(t *testing.T) string {
	t.Helper()
	need.Program(t, "make", "make")
	source, toolchain := debs.Source(t, lab.Suite, "busybox"), musl.For(t, arch.Get("aarch64"))
	muslFiles := strings.TrimSuffix(toolchain.Loader, toolchain.Place)
	f := fixture.Fixture{
		Name: "roots/musl-" + lab.Suite + "-arm64", Ext: ".tar", What: "a busybox for musl",
		From: append([]string{filepath.Base(source), filepath.Base(muslFiles)}, applets...),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			m := maker{ctx, held}
			root := filepath.Join(work, "root")
			if err := os.MkdirAll(filepath.Join(root, "lib"), 0o755); err != nil {
				return err
			}
			if err := m.command("cp", toolchain.Loader, filepath.Join(root, toolchain.Place)); err != nil {
				return err
			}
			headers, err := kernelHeaders(work)
			if err != nil {
				return err
			}
			wrapper := toolchain.Compiler + " -idirafter " + headers
			if err := m.buildBusybox(source, filepath.Join(work, "build"), wrapper, root); err != nil {
				return err
			}
			for _, name := range []string{"tmp", "proc", "dev", "sys", "etc", "root"} {
				if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
					return err
				}
			}
			return m.command("tar", "-C", root, "--owner=0", "--group=0", "-cf", made, ".")
		},
	}
	return f.For(t)
}

// maker runs the commands that make a fixture; they inherit its lock.
type maker struct {
	ctx  context.Context
	held *os.File
}

// kernelHeaders is a directory with only the kernel's headers, some of which busybox includes.
func kernelHeaders(work string) (string, error) {
	headers := filepath.Join(work, "headers")
	if err := os.Mkdir(headers, 0o755); err != nil {
		return "", err
	}
	for _, name := range []string{"linux", "asm", "asm-generic", "mtd"} {
		if err := os.Symlink("/usr/aarch64-linux-gnu/include/"+name, filepath.Join(headers, name)); err != nil {
			return "", err
		}
	}
	return headers, nil
}

// buildBusybox builds it outside its source, which tests share, and installs it into root.
func (m maker) buildBusybox(source, build, compiler, root string) error {
	if err := os.Mkdir(build, 0o755); err != nil {
		return err
	}
	cross := func(args ...string) error {
		return m.command("make", append([]string{"-s", "-C", source, "O=" + build, "CC=" + compiler, "SKIP_STRIP=y", "CONFIG_PREFIX=" + root}, args...)...)
	}
	if err := cross("allnoconfig"); err != nil {
		return err
	}
	config := filepath.Join(build, ".config")
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	chosen := string(text)
	for _, name := range applets {
		chosen = strings.Replace(chosen, "# CONFIG_"+name+" is not set\n", "CONFIG_"+name+"=y\n", 1)
	}
	if err := os.WriteFile(config, []byte(chosen), 0o644); err != nil {
		return err
	}
	// An empty answer to a question takes its default.
	if err := m.command("sh", "-c", `yes "" | make -s -C "$1" O="$2" oldconfig`, "sh", source, build); err != nil {
		return err
	}
	return cross("install")
}

func (m maker) command(name string, args ...string) error {
	cmd := exec.CommandContext(m.ctx, name, args...)
	cmd.ExtraFiles = []*os.File{m.held}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-2000):])
	}
	return nil
}
