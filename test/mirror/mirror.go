// Package mirror is a Debian archive on the loopback, for tests of what downloads from one: it
// can be busy, cut an answer short, lose a version or be gone. It is not signed; apt takes it as
// [trusted=yes].
package mirror

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"binproxy/test/need"
)

// Suite is its only suite.
const Suite = "tests"

// An Archive is one suite, whose packages and manners a test sets.
type Archive struct {
	*httptest.Server
	mu       sync.Mutex
	Packages map[string]string // name and version as NAME_VERSION -> the contents
	Gone     bool              // the server answers nothing
	Refuse   int               // so many requests for packages are refused
	Cut      int               // so many answers with packages end in the middle
	Hang     bool              // answers with packages stop in the middle
	Updates  int               // requests for the index
}

// New serves packages until the test ends. The test is skipped where there is no apt.
func New(t testing.TB, packages map[string]string) *Archive {
	t.Helper()
	need.Program(t, "apt-get", "apt")
	a := &Archive{Packages: packages}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

// Set changes the repository between what a test does.
func (a *Archive) Set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *Archive) serve(w http.ResponseWriter, q *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch name := strings.TrimPrefix(q.URL.Path, "/"); {
	case a.Gone:
		http.Error(w, "gone", http.StatusServiceUnavailable)
	case name == "dists/tests/Release":
		a.Updates++
		index := a.index()
		fmt.Fprintf(w, "Origin: Tests\nSuite: tests\nCodename: tests\nDate: %s\nArchitectures: amd64\nComponents: main\nSHA256:\n %x %d main/binary-amd64/Packages\n",
			time.Now().UTC().Format(time.RFC1123), sha256.Sum256([]byte(index)), len(index))
	case name == "dists/tests/main/binary-amd64/Packages":
		fmt.Fprint(w, a.index())
	case strings.HasPrefix(name, "pool/"):
		a.servePackage(w, q, strings.TrimSuffix(strings.TrimPrefix(name, "pool/"), "_amd64.deb"))
	default:
		http.NotFound(w, q)
	}
}

func (a *Archive) servePackage(w http.ResponseWriter, q *http.Request, name string) {
	text, found := a.Packages[name]
	switch {
	case a.Refuse > 0:
		a.Refuse--
		http.Error(w, "busy", http.StatusForbidden)
	case !found:
		http.Error(w, "superseded", http.StatusNotFound)
	case a.Hang:
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		fmt.Fprint(w, text[:len(text)/2])
		w.(http.Flusher).Flush()
		a.mu.Unlock()
		<-q.Context().Done() // until the other side has gone
		a.mu.Lock()
	default:
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		if a.Cut > 0 {
			a.Cut--
			text = text[:len(text)/2]
		}
		fmt.Fprint(w, text)
	}
}

func (a *Archive) index() string {
	var b strings.Builder
	for _, full := range slices.Sorted(maps.Keys(a.Packages)) {
		text := a.Packages[full]
		name, version, _ := strings.Cut(full, "_")
		fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody\nFilename: pool/%s_amd64.deb\nSize: %d\nSHA256: %x\nDescription: test\n\n",
			name, version, full, len(text), sha256.Sum256([]byte(text)))
	}
	return b.String()
}
