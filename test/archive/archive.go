// Package archive makes small Debian archives for tests of what downloads from one, and serves
// them on the loopback: as well as a mirror does, or as badly.
package archive

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"binproxy/test/need"
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
	fetched map[string]int    // paths, and how often they were asked for
	indexes int
}

type fault struct {
	http.HandlerFunc
	times int
}

// New makes an archive without packages. It needs dpkg-deb and apt-get.
func New(t testing.TB) *Archive {
	t.Helper()
	need.Program(t, "apt-get", "apt")
	need.Program(t, "dpkg-deb", "dpkg")
	a := &Archive{t: t, dir: t.TempDir(), faults: map[string]*fault{}, fetched: map[string]int{}}
	server := httptest.NewUnstartedServer(a)
	server.Listener.Close()
	server.Listener = listen(t)
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	a.URL = server.URL + "/debian"
	a.Index()
	return a
}

// Add puts a package into the pool; fields are more lines of its control file. Scripts, by their
// names in DEBIAN, are given as #!/bin/sh texts.
func (a *Archive) Add(name, version string, scripts map[string]string, fields ...string) {
	a.t.Helper()
	tree := a.t.TempDir()
	control := strings.Join(append([]string{"Package: " + name, "Version: " + version, "Architecture: all", "Maintainer: A Test <test@example.invalid>",
		"Description: a test's"}, fields...), "\n") + "\n"
	for path, text := range map[string]string{"DEBIAN/control": control, "usr/share/" + name + "/version": version + "\n"} {
		a.write(filepath.Join(tree, path), text, 0o644)
	}
	for script, text := range scripts {
		a.write(filepath.Join(tree, "DEBIAN", script), text, 0o755)
	}
	pool := filepath.Join(a.dir, "debian/pool")
	a.check(os.MkdirAll(pool, 0o755))
	a.check(os.Chmod(tree, 0o755))
	out, err := exec.Command("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, filepath.Join(pool, name+"_"+version+"_all.deb")).CombinedOutput()
	if err != nil {
		a.t.Fatalf("dpkg-deb: %v: %s", err, out)
	}
}

// Remove takes a package out of the pool. The index has it until Index is called.
func (a *Archive) Remove(name, version string) {
	a.t.Helper()
	a.check(os.Remove(filepath.Join(a.dir, "debian/pool", name+"_"+version+"_all.deb")))
}

// Index writes the indexes of the packages that are there now.
func (a *Archive) Index() {
	a.t.Helper()
	files, err := filepath.Glob(filepath.Join(a.dir, "debian/pool/*.deb"))
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
	for _, arch := range []string{"all", "amd64", "arm64"} {
		name := "main/binary-" + arch + "/Packages"
		a.write(filepath.Join(a.dir, "debian/dists", Suite, name), packages.String(), 0o644)
		release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256([]byte(packages.String())), packages.Len(), name)
	}
	path := filepath.Join(a.dir, "debian/dists", Suite, "Release")
	a.write(path, release, 0o644)
	// apt asks for what was modified since, in seconds.
	a.indexes++
	modified := time.Now().Add(time.Duration(a.indexes)*time.Minute - 24*time.Hour)
	a.check(os.Chtimes(path, modified, modified))
}

// ServeHTTP serves the archive's files, but for those that are to fail.
func (a *Archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.fetched[r.URL.Path]++
	serve := http.FileServer(http.Dir(a.dir)).ServeHTTP
	for end, f := range a.faults {
		if strings.HasSuffix(r.URL.Path, end) && f.times != 0 {
			f.times--
			serve = f.HandlerFunc
		}
	}
	a.mu.Unlock()
	serve(w, r)
}

// Fail makes the next requests for files whose path ends so fail; for ever, for a negative number
// of times.
func (a *Archive) Fail(end string, times int, how http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[end] = &fault{how, times}
}

// Asked is how often files whose path ends so were asked for.
func (a *Archive) Asked(end string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for path, times := range a.fetched {
		if strings.HasSuffix(path, end) {
			n += times
		}
	}
	return n
}

// Busy is a mirror that is so for a while.
func Busy(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "busy", http.StatusServiceUnavailable)
}

// Cut ends the connection in the middle of a file.
func (a *Archive) Cut(w http.ResponseWriter, r *http.Request) {
	text, err := os.ReadFile(filepath.Join(a.dir, r.URL.Path))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	_, _ = w.Write(text[:len(text)/2])
	panic(http.ErrAbortHandler)
}

// Nobody is the address of an archive on the loopback where nobody listens.
func Nobody(t testing.TB) string {
	t.Helper()
	l := listen(t)
	l.Close()
	return "http://" + l.Addr().String() + "/debian"
}

// Silent is the address of an archive that takes connections and says nothing.
func Silent(t testing.TB) string {
	t.Helper()
	l := listen(t)
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			c.Close()
		}
	})
	return "http://" + l.Addr().String() + "/debian"
}

// hosts is how many addresses of the loopback were given away. apt takes a host for down whatever
// the port, and its method hangs now and then where an archive is on another port of a host that
// failed.
var hosts atomic.Int32

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.1.%d:0", 1+hosts.Add(1)%250))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Configure makes every apt-get of the test one that knows only the archives of these addresses,
// and has no proxy and none of the machine's settings: its state is in a directory of the test's.
// What it installs goes into the root that is returned, with a dpkg database of its own.
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
