package debs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"binproxy/test/apt"
	"binproxy/test/lab"
	"binproxy/test/need"
)

// trust is the option of apt's sources that names the keys of all suites (package
// debian-archive-keyring, which apt depends on in Debian). Tests have an archive without a
// signature.
var trust = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"

// lists are apt's own for the packages of one suite and architecture, or the sources of a suite.
type lists struct {
	name, kind, suite, arch string
}

func packages(suite, arch string) lists { return lists{suite + "-" + arch, "deb", suite, arch} }
func sources(suite string) lists        { return lists{suite + "-source", "deb-src", suite, "amd64"} }

// patience leaves it to the attempts to try again: the index may have to be read anew between
// two.
var patience = apt.Patience{Answer: 8 * time.Second, Lock: 5 * time.Minute}

// unreachable has the mirrors that did not answer in any attempt: the next test is not to wait
// for them again.
var unreachable sync.Map

// fetch calls apt-get in a directory, with a mirror that may hiccup, and with lists that may be
// old.
func (l lists) fetch(ctx context.Context, dir string, args ...string) error {
	mirror, err := lab.Mirror(ctx)
	if err != nil || mirror == "" {
		return errors.Join(err, errors.New("the machine's apt names no Debian mirror"))
	}
	if failed, ok := unreachable.Load(mirror); ok {
		return failed.(error)
	}
	get, err := l.configure(mirror)
	if err != nil {
		return err
	}
	defer get.Keep[0].Close()
	err = apt.Attempt(ctx, apt.Waits(), func() error {
		get.Dir = dir
		if _, err := get.Run(ctx, args...); err == nil {
			return nil
		}
		// The mirror may have newer versions than the lists that were kept, or there are none
		// yet.
		if _, err := get.Run(ctx, "update"); err != nil {
			return err
		}
		_, err := get.Run(ctx, args...)
		return err
	})
	if apt.Unreachable(err) {
		unreachable.Store(mirror, err)
	}
	return err
}

// configure gives an apt-get that has these lists and no others. It holds their lock: were we
// killed, the next process waits until it has ended too.
func (l lists) configure(mirror string) (apt.Get, error) {
	cache, err := lab.Cache()
	if err != nil {
		return apt.Get{}, err
	}
	state := filepath.Join(cache, "debs", "apt", l.name)
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, d), 0o755); err != nil {
			return apt.Get{}, err
		}
	}
	lock, err := lab.Lock(state + ".lock")
	if err != nil {
		return apt.Get{}, err
	}
	list := filepath.Join(state, "sources.list")
	line := fmt.Sprintf("%s [%s] %s %s main\n", l.kind, trust, mirror, l.suite)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		lock.Close()
		return apt.Get{}, err
	}
	return apt.Get{Patience: patience, Keep: []*os.File{lock}, Options: []string{
		"Dir::Etc::SourceList=" + list, "Dir::Etc::SourceParts=-", "Dir::State::Lists=" + filepath.Join(state, "lists"),
		"Dir::State::status=/dev/null", "Dir::Cache=" + filepath.Join(state, "cache"), "APT::Sandbox::User=",
		"APT::Architecture=" + l.arch, "APT::Architectures::=" + l.arch,
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	}}, nil
}

// Network skips the test, with the reason, where Debian's mirror does not answer: for tests whose
// guests install packages themselves.
func Network(t testing.TB) {
	t.Helper()
	need.Program(t, "apt-get", "apt")
	if err := answers(); err != nil {
		need.Installed(t, false, "Debian's archive: "+err.Error())
	}
}

var answers = sync.OnceValue(func() error {
	return packages(lab.Suite, "amd64").fetch(context.Background(), "", "update")
})
