package hostile

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// If the supervisor waits for something that a tracee should deliver, it waits only for a while.
// Then the tracees that should deliver it are ended, one line says so, and the others go on.
func TestWaits(t *testing.T) {
	need.Root(t) // for FUSE, and for the faults of others
	p := newPlace(t)
	mount := filepath.Join(p.dir, "mount")
	require.NoError(t, os.Mkdir(mount, 0o755))
	for name, c := range map[string]struct {
		argv []string
		want string // in the program's output
		said string // in the supervisor's output
	}{
		"a page":              {[]string{"fault", "-"}, "and on", "which is ended: they deliver"},
		"a file, by FUSE":     {[]string{"fuse", mount}, "errno: ENOTCONN", "which is ended: they deliver"},
		"code in a circle":    {[]string{"changes", "circle", p.guest}, "signal 9", "which is ended: it makes no call"},
		"code that goes away": {[]string{"changes", "away", p.guest}, "signal 9", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.argv[0] == "changes" && c.argv[1] == "circle" {
				need.Long(t) // the endless loop takes a processor for half a minute
			}
			t.Parallel()
			if c.argv[0] == "changes" && runtime.GOARCH != "amd64" {
				t.Skip("needs an amd64 host: it has its instructions")
			}
			o := p.supervised(t, "sh", "-c", "./hostile "+strings.Join(c.argv, " ")+"; echo and on; ./guest")
			require.Zero(t, o.status, o.said)
			require.Contains(t, o.out, c.want, o.said)
			require.Contains(t, o.said, c.said)
			require.Equal(t, []string{"and on", "guest"}, o.out[len(o.out)-2:], o.said)
			t.Logf("%q %s", o.out, o.said)
		})
	}
}
