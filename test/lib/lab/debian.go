package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"binproxy/emu/apt"
	"binproxy/emu/arch"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/need"
)

// Suite is the Debian release of the roots.
const Suite = "bookworm"

// Root is the path of a tar archive of a configured Debian root of the architecture (Debian's
// name: arm64, armhf, amd64). The root is minbase, like Debian's own images.
func Root(t testing.TB, arch string) string {
	t.Helper()
	needMmdebstrap(t)
	return minbase(arch).For(t)
}

// MakeRoot is Root for programs. It needs root and mmdebstrap.
func MakeRoot(ctx context.Context, arch string) (string, error) { return minbase(arch).Get(ctx) }

// Building is a Root that can build: it has a compiler for C and C++, make, the sources in /src,
// and in apt's cache the packages less and ca-certificates, which are not installed.
func Building(t testing.TB, arch string) string {
	t.Helper()
	needMmdebstrap(t)
	return building(arch).For(t)
}

// Packages is a directory with the packages of these names (or apt's patterns of names) and all
// their dependencies; set is a name for them together.
func Packages(t testing.TB, arch, set string, names ...string) string {
	t.Helper()
	needMmdebstrap(t)
	return packages(arch, set, names).For(t)
}

func needMmdebstrap(t testing.TB) {
	t.Helper()
	need.Root(t)
	need.Program(t, "mmdebstrap", "mmdebstrap")
}

// buildingHook fetches what Building has besides packages; $1 is the root. The host's own programs
// do all of it.
const buildingHook = `set -e
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
rm -f "$1"/var/cache/apt/archives/*.deb
apt-get install -qq -y --no-install-recommends --download-only ca-certificates less
mkdir "$1/src"
cd "$1/src"
apt-get source -qq --download-only lua5.4 zlib gperf bzip2
for f in *.orig.tar.*; do case $f in *.asc) ;; *) tar -xf "$f" ;; esac; done
rm -f ./*.dsc ./*.tar.*
`

// Fixtures are the roots that many tests wait for, the most wanted first; for a short run, only
// those that it needs.
func Fixtures(short bool) []*fixture.Fixture {
	fixtures := []*fixture.Fixture{minbase("arm64"), building("arm64"), minbase(arch.Host().Debian), minbase("armhf")}
	if !short {
		fixtures = append(fixtures, building("armhf"), firstStage("armhf", os.Stderr), firstStage("arm64", os.Stderr))
	}
	return fixtures
}

func minbase(arch string) *fixture.Fixture { return debianRoot("minbase", arch, nil) }

func building(arch string) *fixture.Fixture {
	return debianRoot("building", arch, []string{"bzip2", "g++", "libc6-dev", "make", "xz-utils"},
		"--skip=cleanup/apt", "--customize-hook="+buildingHook)
}

// mergedUsr are hooks of mmdebstrap's package, which make the links from / to /usr without Perl.
const mergedUsr = "/usr/share/mmdebstrap/hooks/merged-usr"

// debianRoot is a root that the host's own dpkg unpacks and configures. mmdebstrap calls that
// chrootless: the maintainer scripts run on the host and change what DPKG_ROOT names. It takes a
// fifth of the time of emulation, and no emulator. As in Debian's slim images there are no manuals
// and translations.
func debianRoot(name, arch string, packages []string, options ...string) *fixture.Fixture {
	argv := append([]string{"mmdebstrap", "--mode=chrootless", "--format=tar", "--variant=minbase",
		"--architectures=" + arch, "--hook-dir=" + mergedUsr,
		"--include=" + strings.Join(append([]string{"usr-is-merged"}, packages...), ",")}, options...)
	for _, unread := range []string{"doc", "info", "locale", "man"} {
		argv = append(argv, "--dpkgopt=path-exclude=/usr/share/"+unread+"/*")
	}
	return mmdebstrap(name, arch, ".tar", argv, func(made string) []string { return []string{Suite, made} })
}

// packages is a directory with packages and all their dependencies, fetched by the mmdebstrap
// variant that only unpacks them.
func packages(arch, set string, names []string) *fixture.Fixture {
	argv := []string{"mmdebstrap", "--mode=chrootless", "--format=null", "--variant=extract",
		"--architectures=" + arch, "--hook-dir=" + mergedUsr, "--include=" + strings.Join(names, ","),
		`--extract-hook=mkdir "$MADE" && mv "$1"/var/cache/apt/archives/*.deb "$MADE"`}
	return mmdebstrap("packages-"+set, arch, "", argv, func(string) []string { return []string{Suite, "/dev/null"} })
}

// aptPatience makes mmdebstrap's apt end soon if no mirror answers.
func aptPatience() []string {
	return []string{fmt.Sprintf(`--aptopt=Acquire::http::Timeout "%d"`, int(patience.Answer.Seconds())), `--aptopt=Acquire::Retries "1"`}
}

// mmdebstrap is the result of a call of mmdebstrap; the hooks find its name in MADE.
func mmdebstrap(name, arch, ext string, argv []string, last func(made string) []string) *fixture.Fixture {
	return &fixture.Fixture{
		Name: "roots/" + name + "-" + Suite + "-" + arch, Ext: ext,
		What: fmt.Sprintf("a Debian root of %s (%s)", arch, name),
		From: append([]string{Suite, onlyThere}, argv...),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			if os.Geteuid() != 0 {
				return fmt.Errorf("there is no %s root in the cache yet, and only root can make one", arch)
			}
			if _, err := exec.LookPath(argv[0]); err != nil {
				return err
			}
			sources, err := sourceLines(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "lab: mmdebstrap makes a Debian %s root of %s (%s)\n", Suite, arch, name)
			command := slices.Concat(argv[:1], aptPatience(), argv[1:], last(made), sources)
			return persist(ctx, filepath.Join(work, "tmp"), func() error {
				return errors.Join(os.RemoveAll(made), runOnlyThere(ctx, work, made, held, command))
			})
		},
	}
}

// sourceLines are the lines of sources.list in the roots, mmdebstrap's last argument. Without any,
// if the machine's apt knows no mirror of Debian, mmdebstrap has a default, but not for sources.
func sourceLines(ctx context.Context) ([]string, error) {
	mirror, err := apt.Mirror(ctx)
	if err != nil {
		return nil, fmt.Errorf("which mirror does apt use: %w", err)
	}
	if mirror == "" {
		return nil, nil
	}
	options := "[signed-by=" + apt.Keyring + "]"
	return []string{fmt.Sprintf("deb %[1]s %[2]s %[3]s main\ndeb-src %[1]s %[2]s %[3]s main\n", options, mirror, Suite)}, nil
}

// onlyThere runs a command in a mount namespace in which the root file system is read-only except
// below $1, part of which is the command's /tmp. So a maintainer script that forgets DPKG_ROOT
// cannot change the machine.
const onlyThere = `set -e
case $1 in
/tmp/*) mount --bind /tmp /tmp ;;
*) mount --bind "$1/tmp" /tmp ;;
esac
mount --bind "$1" "$1"
mount -o remount,bind,ro /
cd "$1"
shift
exec "$@"
`

// runOnlyThere runs a command by onlyThere; its /tmp is the directory's tmp. It inherits the open
// file held.
func runOnlyThere(ctx context.Context, dir, made string, held *os.File, argv []string) error {
	temp := filepath.Join(dir, "tmp")
	if err := os.Chmod(temp, 0o777|os.ModeSticky); err != nil {
		return err
	}
	args := []string{"--mount", "--propagation", "private", "--", "sh", "-c", onlyThere, "sh", dir}
	cmd := exec.CommandContext(ctx, "unshare", append(args, argv...)...)
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "MADE="+made, "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.ExtraFiles = []*os.File{held}
	// it ends its own children
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], err, apt.Reason(string(out)))
	}
	return nil
}
