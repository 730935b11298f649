package apt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/archive"
	"binproxy/test/lib/need"
)

// two is an archive of two packages.
func two(t *testing.T) *archive.Archive {
	t.Helper()
	a := archive.New(t)
	a.Add("linux-source-7.3", "7.3.4-1", nil)
	a.Add("other", "1.0", nil)
	a.Index()
	return a
}

// replace makes the archive supersede its package other.
func replace(a *archive.Archive) {
	a.Remove("other", "1.0")
	a.Add("other", "1.1", nil)
	a.Index()
}

func lists(a *archive.Archive, dir string) *Lists { return of(a.URL, dir) }

func of(url, dir string) *Lists {
	l := Packages(dir, "[trusted=yes] "+url, "amd64", archive.Suite)
	l.Patience.Answer, l.Patience.Pauses = time.Second, []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	return l
}

// holds asserts that a directory has these packages of the archive, whole, and nothing else.
func holds(t *testing.T, a *archive.Archive, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var there []string
	for _, e := range entries {
		there = append(there, e.Name())
		got, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		r, err := http.Get(a.URL + "/pool/" + e.Name())
		require.NoError(t, err)
		text, err := io.ReadAll(r.Body)
		require.NoError(t, errors.Join(err, r.Body.Close()))
		assert.True(t, bytes.Equal(text, got), e.Name())
	}
	assert.Equal(t, want, there)
}

func TestDownload(t *testing.T) {
	a := two(t)
	l := lists(a, t.TempDir())
	names, err := l.Names(t.Context(), "^linux-source-")
	require.NoError(t, err)
	assert.Equal(t, []string{"linux-source-7.3"}, names)
	version, err := l.Version(t.Context(), "linux-source-7.3")
	require.NoError(t, err)
	assert.Equal(t, "7.3.4-1", version)
	dir := t.TempDir()
	files, err := l.Download(t.Context(), dir, "other", "linux-source-7.3")
	require.NoError(t, err)
	assert.Equal(t, []string{dir + "/other_1.0_all.deb", dir + "/linux-source-7.3_7.3.4-1_all.deb"}, files)
	holds(t, a, dir, "linux-source-7.3_7.3.4-1_all.deb", "other_1.0_all.deb")
	assert.Equal(t, 1, a.Asked("/Release"), "fresh lists are not read again")
}

// A source package is all of its files.
func TestSource(t *testing.T) {
	a := archive.New(t)
	a.AddSource(t.TempDir(), "other", "1.0")
	a.Index()
	l := Sources(t.TempDir(), "[trusted=yes] "+a.URL, archive.Suite)
	dir := t.TempDir()
	files, err := l.Source(t.Context(), dir, "other")
	require.NoError(t, err)
	assert.Equal(t, []string{dir + "/other_1.0-1.dsc", dir + "/other_1.0.orig.tar.gz"}, files)
	holds(t, a, dir, "other_1.0-1.dsc", "other_1.0.orig.tar.gz")
}

// A download survives a passing obstacle.
func TestDownloadRetried(t *testing.T) {
	for name, hinder := range map[string]func(a *archive.Archive){
		"busy":       func(a *archive.Archive) { a.Fail(".deb", 2, archive.Busy) },
		"cut":        func(a *archive.Archive) { a.Fail(".deb", 2, a.Cut) },
		"superseded": replace,
	} {
		t.Run(name, func(t *testing.T) {
			a := two(t)
			l := lists(a, t.TempDir())
			_, err := l.Version(t.Context(), "other")
			require.NoError(t, err)
			hinder(a)
			dir := t.TempDir()
			files, err := l.Download(t.Context(), dir, "other")
			require.NoError(t, err)
			require.Len(t, files, 1)
			want := "other_1.0_all.deb"
			if name == "superseded" {
				want = "other_1.1_all.deb"
			}
			holds(t, a, dir, want)
		})
	}
}

// A download that does not finish leaves nothing.
func TestDownloadFails(t *testing.T) {
	a := two(t)
	l := lists(a, t.TempDir())
	dir := t.TempDir()
	_, err := l.Download(t.Context(), dir, "none")
	assert.ErrorIs(t, err, ErrNoPackage)
	assert.EqualError(t, err, "none: no such package")
	assert.Equal(t, 1, a.Asked("/Release"), "what is not there is not tried again")
	a.Fail(".deb", -1, a.Cut)
	_, err = l.Download(t.Context(), dir, "linux-source-7.3")
	assert.ErrorContains(t, err, "apt-get download: "+a.URL+"/pool/linux-source-7.3_7.3.4-1_all.deb: ")
	a.Fail("Release", -1, archive.Busy)
	_, err = l.Download(t.Context(), dir, "linux-source-7.3")
	assert.ErrorContains(t, err, "apt-get update: "+a.URL+"/dists/")
	holds(t, a, dir)

	// Now interrupt it when half of it is there.
	a.Heal()
	a.Fail(".deb", -1, a.Hang)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for ctx.Err() == nil {
			if parts, _ := filepath.Glob(filepath.Join(dir, "download-*", "*")); len(parts) > 0 {
				cancel(assert.AnError)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err = l.Download(ctx, dir, "linux-source-7.3")
	assert.ErrorIs(t, err, assert.AnError)
	assert.EqualError(t, err, "apt-get download: "+assert.AnError.Error())
	holds(t, a, dir)
}

// Old lists are read again. If that fails they are used, and without any the error says why.
func TestOldLists(t *testing.T) {
	a := two(t)
	state := t.TempDir()
	version := func() string {
		v, err := lists(a, state).Version(t.Context(), "other")
		require.NoError(t, err)
		return v
	}
	assert.Equal(t, "1.0", version())
	replace(a)
	assert.Equal(t, "1.0", version(), "believed for a day")
	dayOld := time.Now().Add(-fresh - time.Minute)
	require.NoError(t, os.Chtimes(filepath.Join(state, "updated"), dayOld, dayOld))
	assert.Equal(t, "1.1", version())
	require.NoError(t, os.Chtimes(filepath.Join(state, "updated"), dayOld, dayOld))
	a.Fail("", -1, archive.Busy)
	assert.Equal(t, "1.1", version(), "no server, old lists")
	l := lists(a, t.TempDir())
	_, err := l.Version(t.Context(), "other")
	assert.ErrorIs(t, err, ErrNoPackage)
	assert.ErrorContains(t, err, "apt-get update: "+a.URL+"/dists/")
	_, err = l.Names(t.Context(), "other")
	assert.ErrorContains(t, err, "apt-get update: "+a.URL+"/dists/")
}

// The lists of another repository are not used.
func TestOtherRepository(t *testing.T) {
	a, b, state := two(t), two(t), t.TempDir()
	replace(b)
	for _, tt := range []struct {
		of   *archive.Archive
		want string
	}{{a, "1.0"}, {b, "1.1"}, {a, "1.0"}} {
		version, err := lists(tt.of, state).Version(t.Context(), "other")
		require.NoError(t, err)
		assert.Equal(t, tt.want, version)
	}
}

// A repository that did not answer is not asked again.
func TestUnreachable(t *testing.T) {
	for name, address := range map[string]func(testing.TB) string{"nobody listens": archive.Nobody, "nobody answers": archive.Silent} {
		t.Run(name, func(t *testing.T) {
			url := address(t)
			_, first := of(url, t.TempDir()).Download(t.Context(), t.TempDir(), "other")
			assert.ErrorContains(t, first, "apt-get update: "+url+"/dists/"+archive.Suite+"/InRelease: ")
			canceled, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := of(url, t.TempDir()).Download(canceled, t.TempDir(), "other")
			assert.Equal(t, first, err)
		})
	}
}

// TestMain is also the process that TestTurns kills.
func TestMain(m *testing.M) {
	if url := os.Getenv("APT_TEST_DOWNLOADS"); url != "" {
		dir := os.Getenv("APT_TEST_DIR")
		_, err := Packages(dir, "[trusted=yes] "+url, "amd64", archive.Suite).Download(context.Background(), dir, "other")
		panic(err)
	}
	os.Exit(m.Run())
}

// A user of a directory of lists waits until nobody else uses it: neither another process, nor the
// apt-get of a killed one.
func TestTurns(t *testing.T) {
	a := two(t)
	a.Fail("/other_1.0_all.deb", -1, a.Hang)
	dir := t.TempDir()
	killed := exec.Command("/proc/self/exe")
	killed.Env = append(os.Environ(), "APT_TEST_DOWNLOADS="+a.URL, "APT_TEST_DIR="+dir)
	require.NoError(t, killed.Start())
	assert.Eventually(t, func() bool { return a.Asked("/other_1.0_all.deb") > 0 }, time.Minute, time.Millisecond)
	waits := func() {
		t.Helper()
		soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := lists(a, dir).Version(soon, "other")
		assert.EqualError(t, err, "lock "+filepath.Join(dir, "lock")+": "+context.DeadlineExceeded.Error())
	}
	waits()
	require.NoError(t, killed.Process.Kill())
	assert.Error(t, killed.Wait())
	waits()
	a.Heal()
	a.HangUp() // the apt-get that was left continues, and ends
	version, err := lists(a, dir).Version(t.Context(), "other")
	require.NoError(t, err)
	assert.Equal(t, "1.0", version)
}

// The machine's own lists do not change.
func TestMachine(t *testing.T) {
	need.Program(t, "apt-get", "apt")
	state := t.TempDir()
	l := Machine(state, "amd64")
	// no network here
	require.NoError(t, os.WriteFile(filepath.Join(state, "updated"), nil, 0o644))
	_, err := l.Version(t.Context(), "apt")
	assert.ErrorIs(t, err, ErrNoPackage, "the machine's lists have it")
}
