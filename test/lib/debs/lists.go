package debs

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"binproxy/emu/apt"
	"binproxy/test/lib/cache"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// repository and patience are variables for this package's tests, which have archives of their
// own.
var (
	repository = apt.Repository
	patience   = apt.Repeated()
)

// packages are apt's lists for the packages of a suite and architecture.
func packages(ctx context.Context, suite, arch string) (*apt.Lists, error) {
	return lists(ctx, suite+"-"+arch, func(dir, repository string) *apt.Lists { return apt.Packages(dir, repository, arch, suite) })
}

// sources are apt's lists for the sources of a suite.
func sources(ctx context.Context, suite string) (*apt.Lists, error) {
	return lists(ctx, suite+"-source", func(dir, repository string) *apt.Lists { return apt.Sources(dir, repository, suite) })
}

func lists(ctx context.Context, name string, of func(dir, repository string) *apt.Lists) (*apt.Lists, error) {
	debian, err := repository(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := cache.Dir()
	if err != nil {
		return nil, err
	}
	l := of(filepath.Join(kept, "debs", "apt", name), debian)
	l.Patience = patience
	return l, nil
}

// Network skips the test, with the reason, if Debian's mirror does not answer. It is for tests
// whose guests install packages themselves.
func Network(t testing.TB) {
	t.Helper()
	if err := answers(); err != nil {
		need.Installed(t, false, fmt.Sprintf("Debian's archive: %v", err))
	}
}

var answers = sync.OnceValue(func() error {
	l, err := packages(context.Background(), lab.Suite, "amd64")
	if err != nil {
		return err
	}
	return l.Update(context.Background())
})
