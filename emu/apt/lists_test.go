package apt

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/mirror"
	"binproxy/test/need"
)

func lists(a *mirror.Archive, dir string) *Lists {
	l := Packages(dir, "[trusted=yes] "+a.URL, "amd64", mirror.Suite)
	l.Patience.Pauses = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	return l
}

func there(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(text)
	}
	return files
}

var two = map[string]string{"linux-source-7.3_7.3.4-1": strings.Repeat("source", 10000), "other_1.0": "other"}

func TestDownload(t *testing.T) {
	a := mirror.New(t, two)
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
	assert.Equal(t, []string{dir + "/other_1.0_amd64.deb", dir + "/linux-source-7.3_7.3.4-1_amd64.deb"}, files)
	assert.Equal(t, map[string]string{"other_1.0_amd64.deb": "other", "linux-source-7.3_7.3.4-1_amd64.deb": two["linux-source-7.3_7.3.4-1"]}, there(t, dir))
	assert.Equal(t, 1, a.Updates, "fresh lists are not read again")
}

// What hinders a download for a time does not end it.
func TestDownloadRetried(t *testing.T) {
	for name, set := range map[string]func(a *mirror.Archive){
		"refused":    func(a *mirror.Archive) { a.Refuse = 2 },
		"cut":        func(a *mirror.Archive) { a.Cut = 2 },
		"superseded": func(a *mirror.Archive) { a.Packages = map[string]string{"other_1.1": "newer"} },
	} {
		t.Run(name, func(t *testing.T) {
			a := mirror.New(t, map[string]string{"other_1.0": "other"})
			l := lists(a, t.TempDir())
			_, err := l.Version(t.Context(), "other")
			require.NoError(t, err)
			a.Set(func() { set(a) })
			dir := t.TempDir()
			files, err := l.Download(t.Context(), dir, "other")
			require.NoError(t, err)
			require.Len(t, files, 1)
			want := map[string]string{"other_1.0_amd64.deb": "other"}
			if name == "superseded" {
				want = map[string]string{"other_1.1_amd64.deb": "newer"}
			}
			assert.Equal(t, want, there(t, dir))
		})
	}
}

// A download that does not come to its end leaves nothing.
func TestDownloadFails(t *testing.T) {
	a := mirror.New(t, two)
	l := lists(a, t.TempDir())
	dir := t.TempDir()
	_, err := l.Download(t.Context(), dir, "none")
	assert.ErrorIs(t, err, ErrNoPackage)
	assert.Equal(t, 1, a.Updates, "what is not there is not tried again")
	a.Set(func() { a.Cut = 1000 })
	_, err = l.Download(t.Context(), dir, "linux-source-7.3")
	assert.ErrorContains(t, err, "apt-get download: "+a.URL+"/pool/linux-source-7.3_7.3.4-1_amd64.deb: ")
	a.Set(func() { a.Cut, a.Gone = 0, true })
	_, err = l.Download(t.Context(), dir, "linux-source-7.3")
	assert.ErrorContains(t, err, "apt-get update: "+a.URL+"/dists/")
	assert.Empty(t, there(t, dir))

	// Interrupted when half of it is there.
	a.Set(func() { a.Gone, a.Hang = false, true })
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
	assert.Empty(t, there(t, dir))
}

// Old lists are read again; where that cannot be done they are used; without any there is an error
// that says why.
func TestOldLists(t *testing.T) {
	a := mirror.New(t, map[string]string{"other_1.0": "other"})
	state := t.TempDir()
	version := func() string {
		v, err := lists(a, state).Version(t.Context(), "other")
		require.NoError(t, err)
		return v
	}
	assert.Equal(t, "1.0", version())
	a.Set(func() { a.Packages = map[string]string{"other_1.1": "newer"} })
	assert.Equal(t, "1.0", version(), "believed for a day")
	dayOld := time.Now().Add(-fresh - time.Minute)
	require.NoError(t, os.Chtimes(filepath.Join(state, "updated"), dayOld, dayOld))
	assert.Equal(t, "1.1", version())
	require.NoError(t, os.Chtimes(filepath.Join(state, "updated"), dayOld, dayOld))
	a.Set(func() { a.Gone = true })
	assert.Equal(t, "1.1", version(), "no server, old lists")
	l := lists(a, t.TempDir())
	_, err := l.Version(t.Context(), "other")
	assert.ErrorIs(t, err, ErrNoPackage)
	assert.ErrorContains(t, err, "apt-get update: "+a.URL+"/dists/")
	_, err = l.Names(t.Context(), "other")
	assert.ErrorContains(t, err, "apt-get update: "+a.URL+"/dists/")
}

// The machine's own lists stay as they are.
func TestMachine(t *testing.T) {
	need.Program(t, "apt-get", "apt")
	state := t.TempDir()
	l := Machine(state, "amd64")
	require.NoError(t, os.WriteFile(filepath.Join(state, "updated"), nil, 0o644)) // no network here
	_, err := l.Version(t.Context(), "apt")
	assert.ErrorIs(t, err, ErrNoPackage, "the machine's lists have it")
}
