// Package twins runs guests' programs with and without twins, and compares what comes of it.
package twins

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/built"
	"binproxy/test/debs"
	"binproxy/test/lab"
	"binproxy/test/need"
)

func TestMain(m *testing.M) { lab.Main(m) }

// guest has Debian's name of an architecture, and QEMU's, and GNU's.
type guest struct{ port, qemu, compiler string }

var guests = []guest{
	{"arm64", "aarch64", "aarch64-linux-gnu"},
	{"armhf", "arm", "arm-linux-gnueabihf"},
}

// others are verified where BINPROXY_TEST_EVERYTHING is set, with the g++ of each: for a root of theirs takes minutes to make.
var others = []guest{
	{"s390x", "s390x", "s390x-linux-gnu"},
	{"ppc64el", "ppc64le", "powerpc64le-linux-gnu"},
	{"mips64el", "mips64el", "mips64el-linux-gnuabi64"},
}

// prepare makes a root one that can build: a compiler, and the sources in /src.
const prepare = `set -e
cat >/etc/resolv.conf
sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
apt-get update -qq
apt-get install -qq -y --no-install-recommends bzip2 g++ libc6-dev make xz-utils
mkdir /src
cd /src
apt-get source -qq --download-only lua5.4 zlib gperf
for f in *.orig.tar.*; do tar -xf $f; done
rm -f *.dsc *.tar.* /var/cache/apt/archives/*.deb
apt-get install -qq -y --no-install-recommends --download-only ca-certificates less
`

// environment is what a Debian image has.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}

// buildRoot is a tar archive of a Debian root that can build, with sources in /src and packages to install in apt's cache. It is made once. Twins
// halve the time of that; TestInstall shows that they leave nothing behind.
func buildRoot(t *testing.T, port string) string {
	t.Helper()
	need.Root(t)
	program, native := built.Binproxy(t), nativeRoot(t)
	dir := debs.Made(t, "twins/guest-"+lab.Suite+"-"+port, "a Debian root with a compiler", func(ctx context.Context, work, made string) error {
		first, err := lab.MakeRoot(ctx, port, os.Stderr)
		if err != nil {
			return err
		}
		root := filepath.Join(work, "root")
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "tar", "-C", root, "--numeric-owner", "-xpf", first).CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		twins, err := packNative(ctx, program, native, filepath.Join(work, "native"))
		if err != nil {
			return err
		}
		resolver, err := os.ReadFile("/etc/resolv.conf")
		if err != nil {
			return err
		}
		for _, argv := range [][]string{{"/debootstrap/debootstrap", "--second-stage"}, {"/bin/sh", "-c", prepare}} {
			cmd := exec.CommandContext(ctx, program, append([]string{"run", "--route", "supervise", "--twins", twins, "--root", root, "--"}, argv...)...)
			cmd.Env, cmd.Stdin = environment, strings.NewReader(string(resolver))
			fmt.Fprintln(os.Stderr, "lab: twins:", port, argv[0])
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w\n%s", err, out[max(0, len(out)-2000):])
			}
		}
		if err := os.Mkdir(made, 0o755); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, "tar", "-C", root, "--numeric-owner", "--exclude=./proc/*", "-cf", filepath.Join(made, "root.tar"), ".").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	return filepath.Join(dir, "root.tar")
}

// run runs a command in a root and gives its output, both streams together, and its exit status.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(built.Binproxy(t), append([]string{"run", "--route", "supervise"}, args...)...)
	cmd.Env = environment
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
