// Package archive makes small Debian archives for tests of programs that download from one, and
// serves them on the loopback: as well as a mirror does, or as badly.
package archive

import (
	"crypto/sha256"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"binproxy/test/lib/fixture"
	"binproxy/test/lib/need"
)

// Suite is the only suite of an archive. Its packages are for all architectures, in the component
// main.
const Suite = "testing"

// Archive is an archive and its mirror.
type Archive struct {
	URL string

	t       testing.TB
	dir     string
	mu      sync.Mutex
	faults  map[string]*fault // by the end of a path
	fetched map[string]int    // paths, and how often they were requested
	indexes int
	sources string // the index of source packages
	server  *httptest.Server
}

// New makes an archive without packages. It needs dpkg-deb and apt-get.
func New(t testing.TB) *Archive {
	t.Helper()
	need.Program(t, "apt-get", "apt")
	need.Program(t, "dpkg-deb", "dpkg")
	a := &Archive{t: t, dir: t.TempDir(), faults: map[string]*fault{}, fetched: map[string]int{}}
	a.serve()
	a.Index()
	return a
}

// Add puts a package into the pool. fields are further lines of its control file; scripts are
// #!/bin/sh texts by their names in DEBIAN.
func (a *Archive) Add(name, version string, scripts map[string]string, fields ...string) {
	a.t.Helper()
	tree := a.t.TempDir()
	a.write(filepath.Join(tree, "usr/share", name, "version"), version+"\n", 0o644)
	for script, text := range scripts {
		a.write(filepath.Join(tree, "DEBIAN", script), text, 0o755)
	}
	a.AddTree(tree, name, version, fields...)
}

// AddTree is Add with the files of a directory.
func (a *Archive) AddTree(tree, name, version string, fields ...string) {
	a.t.Helper()
	control := strings.Join(append([]string{"Package: " + name, "Version: " + version, "Architecture: all", "Maintainer: A Test <test@example.invalid>",
		"Description: a test's"}, fields...), "\n") + "\n"
	a.write(filepath.Join(tree, "DEBIAN/control"), control, 0o644)
	a.check(os.MkdirAll(a.pool(), 0o755))
	a.check(os.Chmod(tree, 0o755))
	a.run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, filepath.Join(a.pool(), name+"_"+version+"_all.deb"))
}

// AddFile adds a package that is in the pool already.
func (a *Archive) AddFile(path string) {
	a.t.Helper()
	a.check(os.MkdirAll(a.pool(), 0o755))
	fixture.Link(a.t, path, filepath.Join(a.pool(), filepath.Base(path)))
}

// Dir is the directory of the archive's files, for a source file:DIR.
func (a *Archive) Dir() string { return filepath.Join(a.dir, "debian") }

// AddSource puts a source package into the pool; its upstream source is a directory.
func (a *Archive) AddSource(tree, name, version string) {
	a.t.Helper()
	a.check(os.MkdirAll(a.pool(), 0o755))
	source := fmt.Sprintf("Package: %s\nBinary: %[1]s\nVersion: %s-1\nFormat: 3.0 (quilt)\nDirectory: pool\nChecksums-Sha256:\n", name, version)
	dsc, upstream := name+"_"+version+"-1.dsc", name+"_"+version+".orig.tar.gz"
	a.write(filepath.Join(a.pool(), dsc), "Format: 3.0 (quilt)\nSource: "+name+"\n", 0o644)
	a.run("tar", "-C", filepath.Dir(tree), "-czf", filepath.Join(a.pool(), upstream), filepath.Base(tree))
	for _, file := range []string{dsc, upstream} {
		text, err := os.ReadFile(filepath.Join(a.pool(), file))
		a.check(err)
		source += fmt.Sprintf(" %x %d %s\n", sha256.Sum256(text), len(text), file)
	}
	a.sources += source + "\n"
}

func (a *Archive) pool() string { return filepath.Join(a.dir, "debian/pool") }

func (a *Archive) run(program string, args ...string) {
	a.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		a.t.Fatalf("%s: %v: %s", program, err, out)
	}
}

// Remove removes a package from the pool. The index has it until Index is called.
func (a *Archive) Remove(name, version string) {
	a.t.Helper()
	a.check(os.Remove(filepath.Join(a.pool(), name+"_"+version+"_all.deb")))
}

// Index writes the indexes of the present packages.
func (a *Archive) Index() {
	a.t.Helper()
	files, err := filepath.Glob(filepath.Join(a.pool(), "*.deb"))
	a.check(err)
	var packages strings.Builder
	for _, file := range files {
		control, err := exec.Command("dpkg-deb", "--field", file).Output()
		a.check(err)
		text, err := os.ReadFile(file)
		a.check(err)
		fmt.Fprintf(&packages, "%sFilename: pool/%s\nSize: %d\nSHA256: %x\n\n", control, filepath.Base(file), len(text), sha256.Sum256(text))
	}
	release := "Origin: Debian\nLabel: Debian\nSuite: " + Suite + "\nCodename: " + Suite + "\nArchitectures: all amd64 arm64\nComponents: main\n" +
		"Date: " + time.Now().UTC().Format(time.RFC1123) + "\nSHA256:\n"
	index := func(name, text string) {
		a.write(filepath.Join(a.dir, "debian/dists", Suite, name), text, 0o644)
		release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256([]byte(text)), len(text), name)
	}
	for _, arch := range []string{"all", "amd64", "arm64"} {
		index("main/binary-"+arch+"/Packages", packages.String())
	}
	index("main/source/Sources", a.sources)
	path := filepath.Join(a.dir, "debian/dists", Suite, "Release")
	a.write(path, release, 0o644)
	// apt asks for what changed since, in seconds.
	a.indexes++
	modified := time.Now().Add(time.Duration(a.indexes)*time.Minute - 24*time.Hour)
	a.check(os.Chtimes(path, modified, modified))
}

// Configure makes every apt-get of the test know only the archives of these addresses, without a
// proxy and without the machine's settings: its state is in a directory of the test's. It installs
// into the returned root, which has its own dpkg database.
func Configure(t testing.TB, urls ...string) (root string) {
	t.Helper()
	dir := t.TempDir()
	root = filepath.Join(dir, "root")
	for _, d := range []string{"etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "state/lists/partial", "cache/archives/partial", "log",
		"root/var/lib/dpkg/updates", "root/var/lib/dpkg/info"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var sources strings.Builder
	for _, url := range urls {
		fmt.Fprintf(&sources, "deb [trusted=yes] %s %s main\n", url, Suite)
	}
	conf := fmt.Sprintf("Dir %q;\nDir::Etc \"etc\";\nDir::Etc::parts \"apt.conf.d\";\nDir::State \"state\";\nDir::Cache \"cache\";\nDir::Log \"log\";\n"+
		"Dir::State::status %q;\nAPT::Sandbox::User \"\";\n", dir+"/", root+"/var/lib/dpkg/status")
	for name, text := range map[string]string{"etc/sources.list": sources.String(), "apt.conf": conf, "root/var/lib/dpkg/status": "", "root/var/lib/dpkg/available": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("APT_CONFIG", filepath.Join(dir, "apt.conf"))
	t.Setenv("DPKG_ROOT", root)
	t.Setenv("DPKG_FORCE", "script-chrootless")
	for _, proxy := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"} {
		t.Setenv(proxy, "")
	}
	return root
}

func (a *Archive) write(path, text string, mode os.FileMode) {
	a.t.Helper()
	a.check(os.MkdirAll(filepath.Dir(path), 0o755))
	a.check(os.WriteFile(path, []byte(text), mode))
}

func (a *Archive) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}
