package archive

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

type fault struct {
	http.HandlerFunc
	times int
}

func (a *Archive) serve() {
	a.server = httptest.NewUnstartedServer(a)
	a.server.Listener.Close()
	a.server.Listener = listen(a.t)
	a.server.Start()
	a.t.Cleanup(func() {
		a.HangUp()
		a.server.Close()
	})
	a.URL = a.server.URL + "/debian"
}

// ServeHTTP serves the archive's files, except for those that have to fail.
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

// Fail makes the next requests for files whose path has this end fail; for ever, if times is
// negative.
func (a *Archive) Fail(end string, times int, how http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[end] = &fault{how, times}
}

// Heal ends all failures.
func (a *Archive) Heal() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.faults)
}

// Asked is how often files whose path has this end were requested.
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

// Busy answers as a mirror that is busy for a while.
func Busy(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "busy", http.StatusServiceUnavailable)
}

// Cut ends the connection in the middle of a file.
func (a *Archive) Cut(w http.ResponseWriter, r *http.Request) {
	if a.half(w, r) {
		panic(http.ErrAbortHandler)
	}
}

// Hang stops in the middle of a file, until the other side, or HangUp, ends the connection.
func (a *Archive) Hang(w http.ResponseWriter, r *http.Request) {
	if a.half(w, r) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// HangUp ends all connections.
func (a *Archive) HangUp() { a.server.CloseClientConnections() }

// half serves the first half of an existing file.
func (a *Archive) half(w http.ResponseWriter, r *http.Request) bool {
	text, err := os.ReadFile(filepath.Join(a.dir, r.URL.Path))
	if err != nil {
		http.NotFound(w, r)
		return false
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	_, _ = w.Write(text[:len(text)/2])
	return true
}

// Nobody is the address of an archive on the loopback on which nobody listens.
func Nobody(t testing.TB) string {
	t.Helper()
	l := listen(t)
	l.Close()
	return "http://" + l.Addr().String() + "/debian"
}

// Silent is the address of an archive that accepts connections but never answers.
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

// hosts counts the loopback addresses given so far. apt counts a host as down whatever the port,
// and its method sometimes hangs if an archive is on another port of a host that failed.
var hosts atomic.Int32

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.1.%d:0", 1+hosts.Add(1)%250))
	if err != nil {
		t.Fatal(err)
	}
	return l
}
