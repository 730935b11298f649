package container

import (
	"bytes"
	"cmp"
	"fmt"
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
	"binproxy/emu/binfmt"
	"binproxy/emu/bootstrap"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/ended"
	"binproxy/test/lib/host"
	"binproxy/test/lib/need"
)

// both runs a test as root and as the ordinary user.
func both(t *testing.T, test func(t *testing.T, w who)) {
	t.Run("root", func(t *testing.T) { test(t, root(t)) })
	t.Run("user", func(t *testing.T) { test(t, user(t)) })
}

// assertMade asserts that the root is in its place, and nothing beside it.
func assertMade(t *testing.T, dir string) {
	t.Helper()
	assert.DirExists(t, dir)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*.bootstrap"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// mmSmall is for mmdebstrap, which can make less than debootstrap: enough to enter, with
// maintainer scripts that run in it.
var mmSmall = []string{"base-files", "base-passwd", "coreutils", "dash", "diffutils", "grep", "libc-bin", "mawk", "sed", "tar"}

// debianRoot is a root that a bootstrapper makes.
type debianRoot struct {
	from, arch string
	route      string // "" for binproxy's choice
	whole      bool   // all of minbase, from Debian's unchanged packages
}

// make makes it in DIR/root, and checks that every package's script ran.
func (d debianRoot) make(t *testing.T, w who, dir string) {
	t.Helper()
	need.Program(t, d.from, d.from)
	w.does(append([]string{"bootstrap", "--arch", d.arch, "--from", d.from, "--suite", suite, "--route", d.route, dir + "/root"}, d.source(t, dir)...)...)
	assertMade(t, dir+"/root")
	status, err := os.ReadFile(dir + "/root/var/lib/dpkg/status")
	require.NoError(t, err)
	assert.Contains(t, string(status), "Package: coreutils\n")
	assert.Contains(t, string(status), "Architecture: "+d.arch+"\n")
	assert.NotRegexp(t, "Status: install ok (unpacked|half|triggers)", string(status), "a package whose script did not run")
}

// source are the options for the origin and the choice of the packages.
func (d debianRoot) source(t *testing.T, dir string) []string {
	if d.whole && d.from == "mmdebstrap" {
		// It installs usrmerge and all the Perl that this needs, which debootstrap's root lacks:
		// they come from Debian's mirror.
		debs.Network(t)
		mirror, err := apt.Mirror(t.Context())
		require.NoError(t, err)
		return []string{"--mirror", mirror, "--keyring", apt.Keyring}
	}
	s := newSigner(t, dir)
	args := []string{"--keyring", s.keyring, "--mirror"}
	mirror := debian(t, d.arch, s, d.whole)
	if d.from == "debootstrap" {
		return append(args, mirror)
	}
	return append(args, copied(mirror), "--variant", "custom", "--include", strings.Join(mmSmall, ","))
}

// Debian by either bootstrapper, of both architectures, as root and as an ordinary user, by the
// kernel and by a supervisor. Nothing is registered with the host, and each root can be lived in.
func TestDebian(t *testing.T) {
	machines := map[string]string{"arm64": "aarch64", "armhf": "armv7l"}
	routes := []string{"", bootstrap.RouteSupervise}
	whole := need.IsEverything()
	for i, from := range []string{"debootstrap", "mmdebstrap"} {
		for j, arch := range []string{"arm64", "armhf"} {
			for k, who := range []func(testing.TB) who{root, user} {
				d := debianRoot{from: from, arch: arch, route: routes[(i+j+k)%2], whole: whole}
				name := fmt.Sprintf("%s %s %s", from, arch, [...]string{"root", "user"}[k])
				t.Run(name, func(t *testing.T) {
					if name != "debootstrap arm64 user" {
						need.Long(t)
					}
					w := who(t)
					before, err := binfmt.Registry{Dir: binfmt.Dir}.List()
					require.NoError(t, err)
					dir := w.dir()
					d.make(t, w, dir)
					name := filepath.Base(dir)
					w.does("container", "create", "--arch", arch, "--location", dir+"/root", "--name", name)
					here, id := "/root\n", "0\n"
					if w.home != "" {
						here, id = w.home+"\n", "65534\n"
					}
					assert.Equal(t, machines[arch]+"\n"+here+id, run(in(w, w.cmd("container", "enter", name, "--", "sh", "-c", "uname -m; pwd; id -u"))).out)
					assert.Equal(t, "0\n0\n", w.does("container", "enter", "--user", "root", name, "--", "sh", "-c", "id -u; stat -c %u /etc/passwd"))
					w.does("container", "remove", name)
					after, err := binfmt.Registry{Dir: binfmt.Dir}.List()
					require.NoError(t, err)
					assert.Equal(t, before, after)
				})
			}
		}
	}
}

// copied is the mirror in the form from which apt copies packages: mmdebstrap needs it for a
// mirror that the root does not see.
func copied(mirror string) string { return "copy" + strings.TrimPrefix(mirror, "file") }

// in makes the command run in the caller's home; root uses everybody's.
func in(w who, cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = cmp.Or(w.home, "/")
	return cmd
}

// A signature that does not verify ends the run, with every bootstrapper. The remains are marked,
// and can be removed.
func TestUnsignedEndsIt(t *testing.T) {
	w := root(t)
	dir := w.dir()
	signed, other := newSigner(t, dir), newSigner(t, w.dir())
	mirror := debian(t, "arm64", signed, false)
	repo := rpms(t, signed, dir, busybox(t, "arm64"))
	for from, args := range map[string][]string{
		"debootstrap": {"--arch", "arm64", "--suite", suite, "--mirror", mirror, "--keyring", other.keyring},
		"mmdebstrap":  {"--arch", "arm64", "--suite", suite, "--mirror", mirror, "--keyring", other.keyring},
		"dnf":         {"--arch", "arm64", "--mirror", repo, "--keyring", other.armour, "--variant", "custom", "--include", "says-where"},
		"zypper":      {"--arch", "arm64", "--mirror", repo, "--keyring", other.armour, "--variant", "custom", "--include", "says-where"},
	} {
		t.Run(from, func(t *testing.T) {
			w.t = t
			need.Program(t, from, from)
			at := filepath.Join(w.dir(), "root")
			args := append([]string{"bootstrap", "--from", from, at}, args...)
			w.refuses("The unfinished root is in", args...)
			assert.NoDirExists(t, at)
			w.refuses("what an interrupted run left (--arch", args...)
			w.does("bootstrap", "--remove", at)
			left, err := os.ReadDir(filepath.Dir(at))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

// A small repository of aarch64 packages, one of which has a script that runs in the root.
func TestRPM(t *testing.T) {
	top := root(t).dir()
	s := newSigner(t, top)
	repo := rpms(t, s, top, busybox(t, "arm64"))
	for _, from := range []string{"dnf", "zypper"} {
		t.Run(from, func(t *testing.T) {
			if from != "dnf" {
				need.Long(t)
			}
			both(t, func(t *testing.T, w who) {
				need.Program(t, from, from)
				dir := w.dir()
				w.does("bootstrap", "--arch", "arm64", "--from", from, "--mirror", repo, "--keyring", s.armour,
					"--variant", "custom", "--include", "says-where", dir+"/root")
				assertMade(t, dir+"/root")
				machine, err := os.ReadFile(dir + "/root/machine")
				require.NoError(t, err, "the package's script")
				assert.Equal(t, "aarch64\n", string(machine))
				w.does("container", "create", "--arch", "arm64", "--location", dir+"/root")
				assert.Equal(t, "aarch64\n", w.does("container", "enter", "aarch64", "--", "/bin/uname", "-m"))
				w.does("container", "remove", "aarch64")
			})
		})
	}
}

// Images as buildah writes them, as an OCI layout and in docker save's form: a layer on another
// one, with whiteouts.
func TestImages(t *testing.T) {
	both(t, func(t *testing.T, w who) {
		dir := w.dir()
		buildImage(t, dir, busybox(t, "arm64"))
		require.NoError(t, exec.Command("gzip", "-k", dir+"/saved.tar").Run())
		require.NoError(t, exec.Command(need.Program(t, "zstd", "zstd"), "-q", "-k", dir+"/saved.tar").Run())
		for name, from := range map[string]string{"oci": "oci:" + dir + "/layout", "saved": "tar:" + dir + "/saved.tar", "gzip": "tar:" + dir + "/saved.tar.gz", "zstd": "tar:" + dir + "/saved.tar.zst"} {
			at := dir + "/root-" + name
			w.does("bootstrap", "--arch", "arm64", "--from", from, at)
			assertMade(t, at)
			assert.FileExists(t, at+"/bin/busybox")
			assert.FileExists(t, at+"/opaque/new")
			for _, gone := range []string{"/gone", "/opaque/old"} {
				assert.NoFileExists(t, at+gone)
			}
			w.does("container", "create", "--arch", "arm64", "--location", at)
			assert.Equal(t, "aarch64\n33\n", w.does("container", "enter", "aarch64", "--", "/bin/sh", "-c", "uname -m; stat -c %u /owned"))
			w.does("container", "remove", "aarch64")
		}
		w.refuses("has nothing for riscv64; it has: linux/arm64", "bootstrap", "--arch", "riscv64", "--from", "oci:"+dir+"/layout", dir+"/riscv")
		// A blob that does not match its digest.
		blobs, err := filepath.Glob(dir + "/layout/blobs/sha256/*")
		require.NoError(t, err)
		for _, blob := range blobs {
			if fi, err := os.Stat(blob); err == nil && fi.Size() > 100_000 {
				f, err := os.OpenFile(blob, os.O_APPEND|os.O_WRONLY, 0)
				require.NoError(t, err)
				_, err = f.Write(make([]byte, 512))
				require.NoError(t, err)
				f.Close()
			}
		}
		w.refuses("the image is damaged", "bootstrap", "--arch", "arm64", "--from", "oci:"+dir+"/layout", dir+"/damaged")
		assert.NoDirExists(t, dir+"/damaged")
		w.does("bootstrap", "--remove", dir+"/damaged")
	})
}

func buildImage(t *testing.T, dir, busybox string) {
	buildah := need.Program(t, "buildah", "buildah")
	script := `set -e
b() { "$BUILDAH" --root "$DIR/storage" --runroot "$DIR/run" --storage-driver vfs "$@"; }
trap 'b rm -a >/dev/null; rm -rf "$DIR/storage" "$DIR/run"' EXIT
mkdir -p "$DIR/one/bin" "$DIR/one/opaque" "$DIR/two/opaque"
cp "$BUSYBOX" "$DIR/one/bin/busybox"
for name in sh uname stat; do ln -s busybox "$DIR/one/bin/$name"; done
touch "$DIR/one/gone" "$DIR/one/opaque/old" "$DIR/two/opaque/new"
c=$(b from --arch arm64 scratch)
b copy "$c" "$DIR/one" /
b commit --quiet "$c" base >/dev/null
c=$(b from --pull-never --arch arm64 base)
m=$(b mount "$c")
rm -r "$m/gone" "$m/opaque"
cp -r "$DIR/two/opaque" "$m/opaque"
touch "$m/owned"
chown 33:33 "$m/owned"
b umount "$c" >/dev/null
b commit --quiet "$c" image >/dev/null
b push --quiet image "oci:$DIR/layout:latest"
b push --quiet image "docker-archive:$DIR/saved.tar:image:latest"
chmod -R a+rX "$DIR/layout" "$DIR/saved.tar"
`
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "BUILDAH="+buildah, "DIR="+dir, "BUSYBOX="+busybox, "HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// An interrupted run leaves no root and no process, and names what it left.
func TestInterrupted(t *testing.T) {
	w := user(t)
	need.Program(t, "mmdebstrap", "mmdebstrap")
	dir := w.dir()
	mirror := debian(t, "arm64", newSigner(t, dir), false)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		cmd := w.cmd("bootstrap", "--arch", "arm64", "--from", "mmdebstrap", "--suite", suite, "--mirror", copied(mirror), "--keyring", dir+"/key.gpg", "--restart", dir+"/root")
		var said bytes.Buffer
		cmd.Stderr = &said
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool {
			_, err := os.Stat(dir + "/.root.bootstrap/root/var/lib/dpkg")
			return err == nil
		}, time.Minute, 10*time.Millisecond)
		require.NoError(t, cmd.Process.Signal(signal))
		assert.Error(t, cmd.Wait())
		if signal == syscall.SIGTERM {
			assert.Contains(t, said.String(), "ended by signal 15 (terminated)\nThe unfinished root is in "+dir+"/.root.bootstrap; `binproxy bootstrap --remove "+dir+"/root` removes it\n")
		}
		assert.NoDirExists(t, dir+"/root")
		require.Eventually(t, func() bool { return !mentioned(t, dir+"/.root.bootstrap") }, 10*time.Second, 10*time.Millisecond, "a process goes on")
		w.refuses("what an interrupted run left", "bootstrap", "--arch", "arm64", "--from", "mmdebstrap", dir+"/root")
	}
	w.does("bootstrap", "--remove", dir+"/root")
	w.refuses("no interrupted bootstrap", "bootstrap", "--remove", dir+"/root")
}

// mentioned reports whether a process has the text in its command line.
func mentioned(t *testing.T, text string) bool {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, f := range files {
		if cmdline, _ := os.ReadFile(f); strings.Contains(string(cmdline), text) {
			return true
		}
	}
	return false
}

func TestBootstrapRefusals(t *testing.T) {
	w := root(t)
	dir := w.dir()
	require.NoError(t, os.WriteFile(dir+"/file", nil, 0o644))
	for says, args := range map[string][]string{
		"--arch is missing":          {dir + "/new"},
		"is not empty":               {"--arch", "arm64", dir},
		"exists and is no directory": {"--arch", "arm64", dir + "/file"},
		"the directory that it is to be in does not exist": {"--arch", "arm64", dir + "/none/new"},
		"it is one of debootstrap, mmdebstrap, dnf":        {"--arch", "arm64", "--from", "rpm", dir + "/new"},
		"dnf: its distributions have no port to m68k":      {"--arch", "m68k", "--from", "dnf", dir + "/new"},
		"dnf: say where the packages are":                  {"--arch", "arm64", "--from", "dnf", dir + "/new"},
		"no OCI image layout":                              {"--arch", "arm64", "--from", "oci:" + dir, dir + "/new"},
	} {
		w.refuses(says, append([]string{"bootstrap"}, args...)...)
	}
	cmd := w.cmd("bootstrap", "--arch", "arm64", "--from", "apk", "--mirror", "x", dir+"/new")
	cmd.Env = append(host.Env(), "PATH=/nonexistent")
	if r := run(cmd); !strings.Contains(r.err, "--keys-dir") {
		assert.Contains(t, r.err, "apk is not installed; the package that has it: Alpine: apk-tools")
	}
	left, err := filepath.Glob(dir + "/.*")
	require.NoError(t, err)
	assert.Empty(t, left)
}

// If the kernel cannot take the emulator (here because its path is too long for an entry), a
// supervisor takes its place, unless the user asked for another route.
func TestSupervisorTakesThePlace(t *testing.T) {
	w := user(t)
	dir := w.dir()
	s := newSigner(t, dir)
	repo := rpms(t, s, dir, busybox(t, "arm64"))
	long := filepath.Join(dir, strings.Repeat("long/", 30))
	require.NoError(t, os.MkdirAll(long, 0o755))
	emulator := filepath.Join(long, "qemu")
	require.NoError(t, exec.Command("cp", need.Emulator(t, "aarch64"), emulator).Run())
	need.Program(t, "dnf", "dnf")
	args := []string{"bootstrap", "--arch", "arm64", "--from", "dnf", "--mirror", repo, "--keyring", s.armour, "--variant", "custom", "--include", "says-where",
		"--emulator", emulator}
	w.refuses("the kernel takes 127", append(args, "--route", bootstrap.RouteUserns, dir+"/root")...)
	w.refuses("it is userns or supervise", append(args, "--route", "farm", dir+"/root")...)
	r := run(w.cmd(append(args, dir+"/root")...))
	require.Zero(t, r.status, r)
	assert.Contains(t, r.err, "the kernel takes 127")
	assert.Contains(t, r.err, "a supervisor takes its place")
	machine, err := os.ReadFile(dir + "/root/machine")
	require.NoError(t, err, "the package's script")
	assert.Equal(t, "aarch64\n", string(machine))

	// It passes on the signal that ends it, and leaves nothing running.
	cmd := w.cmd(append(args, dir+"/other")...)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { _, err := os.Stat(dir + "/.other.bootstrap/root"); return err == nil }, time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	assert.Error(t, cmd.Wait())
	assert.Equal(t, -15, ended.Status(cmd.ProcessState))
	require.Eventually(t, func() bool { return !mentioned(t, dir+"/.other.bootstrap") }, 10*time.Second, 10*time.Millisecond, "a process goes on")
	w.does("bootstrap", "--remove", dir+"/other")
}
