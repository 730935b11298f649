package need

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listener is a test that notes how it ended.
type listener struct {
	testing.TB
	end string
}

func (l *listener) Helper()                        {}
func (l *listener) Skipf(format string, a ...any)  { l.end = "skip: " + fmt.Sprintf(format, a...) }
func (l *listener) Fatalf(format string, a ...any) { l.end = "fail: " + fmt.Sprintf(format, a...) }

// A skip says why the package was not to be had; under CI=true that is a failure.
func TestLackingPackage(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	end := func() string {
		l := &listener{TB: t}
		Program(l, "no-such-program", "its-package")
		return l.end
	}
	t.Setenv("CI", "")
	assert.Equal(t, "skip: needs no-such-program (package its-package)", end())
	require.NoError(t, NoteLacking(map[string]string{"its": "another's", "its-package": "apt-get install:\n404"}))
	assert.Equal(t, "skip: needs no-such-program (package its-package: apt-get install: 404)", end())
	t.Setenv("CI", "true")
	assert.Equal(t, "fail: needs no-such-program (package its-package: apt-get install: 404), which `make test` should have brought", end())
	require.NoError(t, NoteLacking(nil))
	require.NoError(t, NoteLacking(nil), "nothing to remove")
	t.Setenv("CI", "")
	assert.Equal(t, "skip: needs no-such-program (package its-package)", end())
}
