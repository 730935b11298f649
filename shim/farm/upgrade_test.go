package farm

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/config"
	"binproxy/test/lib/need"
)

// packageOf makes a Debian package of commands for arm64, each a program with that text; perl and
// perl5 are one file.
func packageOf(t *testing.T, version, text string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "usr/bin")
	require.NoError(t, os.MkdirAll(bin, 0o755))
	require.NoError(t, os.Mkdir(dir+"/DEBIAN", 0o755))
	for _, name := range names {
		write(t, filepath.Join(bin, name), guest(name+text))
	}
	require.NoError(t, os.Link(bin+"/perl", bin+"/perl5"))
	write(t, dir+"/DEBIAN/control", "Package: tools\nVersion: "+version+"\nArchitecture: arm64\nMaintainer: nobody <nobody@example.org>\nDescription: commands\n")
	archive := filepath.Join(t.TempDir(), "tools.deb")
	dpkg(t, "dpkg-deb", "-Znone", "--root-owner-group", "--build", dir, archive)
	return archive
}

func dpkg(t *testing.T, argv ...string) {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// debian is an image whose commands belong to a package, and on which dpkg works.
type debian struct {
	t    *testing.T
	root string
}

// install installs a package, or upgrades to it.
func (d debian) install(archive string) {
	d.t.Helper()
	dpkg(d.t, "dpkg", "--root="+d.root, "--force-architecture", "--force-unsafe-io", "-i", archive)
}

// divert has dpkg rename the package's command, and puts another program in its place.
func (d debian) divert(name string) {
	d.t.Helper()
	dpkg(d.t, "dpkg-divert", "--root="+d.root, "--local", "--rename", "--add", "/usr/bin/"+name)
	write(d.t, filepath.Join(d.root, "usr/bin", name), guest("local "+name))
}

// newDebian installs the package into a root that contains only a shell's name.
func newDebian(t *testing.T, archive string) debian {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, dir := range []string{"usr/bin", "usr/local/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	write(t, root+"/var/lib/dpkg/status", "")
	require.NoError(t, os.Symlink("usr/bin", root+"/bin"))
	require.NoError(t, os.Symlink("dash", root+"/usr/bin/sh"))
	d := debian{t, root}
	d.install(archive)
	return d
}

// programs are the texts of the commands by their names.
type programs map[string]string

func (p programs) with(more programs) programs {
	all := maps.Clone(p)
	maps.Copy(all, more)
	return all
}

// has checks that the commands have those texts, that perl and perl5 are one file unless one was
// diverted, and that nothing of binproxy is left.
func (d debian) has(want programs) {
	d.t.Helper()
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(d.root, "usr/bin", name))
		require.NoError(d.t, err)
		require.Equal(d.t, guest(text), string(got), name)
	}
	if want["perl5"] == want["perl"] {
		require.True(d.t, sameFile(d.root+"/usr/bin/perl", d.root+"/usr/bin/perl5"))
	}
	require.ElementsMatch(d.t, append(slices.Collect(maps.Keys(want)), "sh"), names(d.t, d.root+"/usr/bin"))
	require.NoDirExists(d.t, d.root+"/binproxy")
}

// TestUpgradedBetween: install, an upgrade of the commands' package by dpkg, a diversion of a
// command, and clean, in several orders. The install or the clean is killed before each of its
// changes, or the power is lost there. perl5 is separated from perl, as by an overlay file system.
// In the end the commands are the ones that dpkg alone would have made.
func TestUpgradedBetween(t *testing.T) {
	need.Root(t)
	need.Program(t, "dpkg-divert", "dpkg")
	one := packageOf(t, "1", " one", "dash", "date", "mawk", "perl")
	two := packageOf(t, "2", " two", "dash", "date", "gawk", "perl") // mawk has gone
	old := programs{"dash": "dash one", "date": "date one", "mawk": "mawk one", "perl": "perl one", "perl5": "perl one"}
	upgraded := programs{"dash": "dash two", "date": "date two", "gawk": "gawk two", "perl": "perl two", "perl5": "perl two"}
	type order struct {
		do   func(d debian)
		want programs
	}
	orders := []order{
		{func(d debian) { d.install(two) }, upgraded},
		{func(d debian) { d.divert("perl5") }, old.with(programs{"perl5": "local perl5", "perl5.distrib": "perl one"})},
		{func(d debian) { d.divert("date"); d.install(two) }, upgraded.with(programs{"date": "local date", "date.distrib": "date two"})},
		{func(d debian) { d.install(two); d.divert("gawk") }, upgraded.with(programs{"gawk": "local gawk", "gawk.distrib": "gawk two"})},
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	chosen := func(n int) []order {
		if need.IsEverything() {
			return orders
		}
		return orders[n/stride%len(orders):][:1]
	}
	install := func(d debian, cfg config.Config) {
		_, err := Install(cfg, at(d.root))
		require.NoError(t, err)
	}
	for n, hit := 1, true; hit; n += stride {
		for _, order := range chosen(n) {
			losePower(t, n%3 == 0)
			d := newDebian(t, one)
			cfg := bundle(t, d.root)
			hit = killed(t, "install", d.root, n)
			order.do(d)
			if n/4%2 == 0 {
				install(d, cfg)
			}
			_, err := Clean(reload(t, cfg))
			require.NoError(t, err, "install killed before change %d", n)
			d.has(order.want)
		}
	}
	for n, hit := 1, true; hit; n += stride {
		for _, order := range chosen(n) {
			losePower(t, n%3 == 0)
			d := newDebian(t, one)
			cfg := bundle(t, d.root)
			install(d, cfg)
			part(t, Aside(filepath.Join(d.root, "usr/bin/perl5")))
			if n/8%2 == 0 {
				order.do(d)
			}
			hit = killed(t, "clean", d.root, n)
			whole := exists(cfg.Self()) && exists(filepath.Join(cfg.Dir, config.Name))
			if n/4%2 == 0 && whole {
				install(d, reload(t, cfg))
			}
			if n/8%2 == 1 {
				order.do(d)
			}
			if whole {
				_, err := Clean(reload(t, cfg))
				require.NoError(t, err, "clean killed before change %d", n)
			}
			require.NoError(t, os.RemoveAll(cfg.Dir)) // if killed at its end
			d.has(order.want)
		}
	}
}
