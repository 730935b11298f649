// Package aec tests architecture emulation containers with the whole program: binfmt_misc entries, bootstrapped roots, containers to live in. All of it happens
// in a host of its own (test/host); the machine stays as it is.
package aec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/built"
	"binproxy/test/host"
	"binproxy/test/lab"
	"binproxy/test/need"
)

func TestMain(m *testing.M) { host.Main(m) }

// result is how a command ended.
type result struct {
	out, err string
	status   int
}

func (r result) String() string {
	return fmt.Sprintf("status %d\n--- stdout\n%s--- stderr\n%s", r.status, r.out, r.err)
}

// who runs binproxy: root, or the ordinary user with a home.
type who struct {
	t    testing.TB
	home string // "" for root
}

func root(t testing.TB) who {
	host.Need(t)
	return who{t: t}
}

func user(t testing.TB) who {
	host.Need(t)
	need.Program(t, "newuidmap", "uidmap")
	return who{t: t, home: host.Home(t)}
}

// cmd is binproxy with arguments.
func (w who) cmd(args ...string) *exec.Cmd {
	return w.program(binproxy(w.t), args...)
}

// binproxy is the program where everybody can execute it: the cache is in root's home.
func binproxy(t testing.TB) string {
	const path = "/run/binproxy-under-test"
	if _, err := os.Stat(path); err != nil {
		text, err := os.ReadFile(built.Binproxy(t))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, text, 0o755))
	}
	return path
}

func (w who) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(host.Env(), "HOME=/root", "USER=root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"+os.Getenv("PATH"))
	cmd.Dir = "/"
	if w.home != "" {
		host.As(cmd, w.home)
	}
	return cmd
}

// dir is a fresh directory of the one who runs, on a file system with room. It is removed in the end, whoever then owns what is in it.
func (w who) dir() string {
	dir, err := os.MkdirTemp("", "aec-")
	require.NoError(w.t, err)
	if w.home != "" {
		require.NoError(w.t, os.Chown(dir, host.UserID, host.UserID))
	}
	require.NoError(w.t, os.Chmod(dir, 0o755))
	w.t.Cleanup(func() { require.NoError(w.t, os.RemoveAll(dir)) })
	return dir
}

func run(cmd *exec.Cmd) result {
	var r result
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	r.out, r.err, r.status = out.String(), stderr.String(), cmd.ProcessState.ExitCode()
	if err != nil && cmd.ProcessState == nil {
		r.err, r.status = err.Error(), -1
	}
	return r
}

// does runs binproxy, which has to succeed, and gives its standard output.
func (w who) does(args ...string) string {
	w.t.Helper()
	r := run(w.cmd(args...))
	require.Zero(w.t, r.status, "binproxy %s: %s", strings.Join(args, " "), r)
	return r.out
}

// refuses runs binproxy, which has to fail with 125 and say so.
func (w who) refuses(says string, args ...string) {
	w.t.Helper()
	r := run(w.cmd(args...))
	require.Equal(w.t, 125, r.status, "binproxy %s: %s", strings.Join(args, " "), r)
	require.Contains(w.t, r.err, says)
}

// cache is a directory that stays for the next run.
func cache(t testing.TB, name string) string {
	t.Helper()
	base, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(base, "binproxy", name)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// deb is the contents of a Debian package of the machine's own apt sources, unpacked in the cache.
func deb(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(cache(t, "debs"), name)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	need.Program(t, "apt-get", "apt")
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	require.NoError(t, err)
	defer os.RemoveAll(temp)
	download := exec.Command("apt-get", "-o", "APT::Sandbox::User=root", "download", name)
	download.Dir = temp
	out, err := download.CombinedOutput()
	need.Given(t, err == nil, fmt.Sprintf("the Debian package %s, which apt-get cannot download: %s", name, out))
	files, err := filepath.Glob(temp + "/*.deb")
	require.NoError(t, err)
	require.Len(t, files, 1)
	out, err = exec.Command("dpkg-deb", "-x", files[0], temp+"/root").CombinedOutput()
	require.NoError(t, err, "%s", out)
	if err := os.Rename(temp+"/root", dir); !errors.Is(err, os.ErrExist) {
		require.NoError(t, err)
	}
	return dir
}

// foreignDeb is deb for a package of another architecture, from lists of our own in the cache: the machine's apt knows nothing of it. The package itself
// lies beside it, with .deb added to the name.
func foreignDeb(t testing.TB, arch, name string) string {
	t.Helper()
	dir := filepath.Join(cache(t, "debs"), name+"-"+arch)
	if _, err := os.Stat(dir + ".deb"); err == nil {
		return dir
	}
	need.Program(t, "apt-get", "apt")
	mirror, err := lab.Mirror(t.Context())
	require.NoError(t, err)
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	require.NoError(t, err)
	defer os.RemoveAll(temp)
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial", "etc"} {
		require.NoError(t, os.MkdirAll(temp+"/"+sub, 0o755))
	}
	source := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, lab.Suite)
	require.NoError(t, os.WriteFile(temp+"/etc/sources.list", []byte(source), 0o644))
	require.NoError(t, os.WriteFile(temp+"/state/status", nil, 0o644))
	for _, args := range [][]string{{"update"}, {"download", name}} {
		cmd := exec.Command("apt-get", append([]string{"-o", "APT::Architecture=" + arch, "-o", "APT::Architectures=" + arch, "-o", "APT::Sandbox::User=root",
			"-o", "Dir::State=" + temp + "/state", "-o", "Dir::State::status=" + temp + "/state/status", "-o", "Dir::Cache=" + temp + "/cache",
			"-o", "Dir::Etc::sourcelist=" + temp + "/etc/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null"}, args...)...)
		cmd.Dir = temp
		out, err := cmd.CombinedOutput()
		need.Given(t, err == nil, fmt.Sprintf("the Debian package %s of %s, which apt-get cannot download: %s", name, arch, out))
	}
	files, err := filepath.Glob(temp + "/*.deb")
	require.NoError(t, err)
	require.Len(t, files, 1)
	out, err := exec.Command("dpkg-deb", "-x", files[0], temp+"/root").CombinedOutput()
	require.NoError(t, err, "%s", out)
	if err := os.Rename(temp+"/root", dir); !errors.Is(err, os.ErrExist) {
		require.NoError(t, err)
	}
	require.NoError(t, os.Rename(files[0], dir+".deb"))
	return dir
}

// busybox is the path of a static busybox of the architecture.
func busybox(t testing.TB, arch string) string {
	t.Helper()
	return foreignDeb(t, arch, "busybox-static") + "/bin/busybox"
}
