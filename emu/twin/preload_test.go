package twin

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// There is no twin where the guest's loader does what shows.
func TestFitLoader(t *testing.T) {
	for _, c := range []struct {
		program, entry, why string
	}{
		{"date", "LD_SHOW_AUXV=1", "LD_SHOW_AUXV is set"},
		{"date", "LD_SHOW_AUXV=", "LD_SHOW_AUXV is set"},
		{"date", "LD_TRACE_LOADED_OBJECTS=", "LD_TRACE_LOADED_OBJECTS is set"},
		{"date", "LD_DEBUG=all", "LD_DEBUG is set"},
		{"date", "LD_DEBUG=", ""},
		{"date", "LD_AUDIT=/x.so", "LD_AUDIT is set"},
		{"date", "LD_BIND_NOW=1", ""},
		{"date", "GLIBC_TUNABLES=glibc.malloc.check=1", ""},
		{"date", "LD_FLAGS=-x", ""},
		{"date", "LD_PRELOAD=", ""},
		{"date", "LD_PRELOAD= :", ""},
		{"date", "LD_PRELOAD=/usr/lib/x/faketime/libfaketime.so.1", "LD_PRELOAD: a twin would be without /usr/lib/x/faketime/libfaketime.so.1"},
		{"date", "LD_PRELOAD=libeatmydata.so", ""},
		{"date", "LD_PRELOAD=libeatmydata.so /usr/lib/libjemalloc.so.2", ""},
		{"date", "LD_PRELOAD=libeatmydata.so:/x.so", "LD_PRELOAD: a twin would be without /x.so"},
		{"cc1", "LD_PRELOAD=libfakeroot-sysv.so", ""},
		{"sort", "LD_PRELOAD=libfakeroot-sysv.so", "LD_PRELOAD: a twin would be without libfakeroot-sysv.so"},
		{"dash", "LD_PRELOAD=/lib/libfakeroot-tcp.so", "LD_PRELOAD: a twin would be without /lib/libfakeroot-tcp.so"},
		{"date", "LD_LIBRARY_PATH=", ""},
		{"date", "LD_LIBRARY_PATH=/without", ""},
		{"date", "LD_LIBRARY_PATH=/without:/with", "LD_LIBRARY_PATH: a twin would not look in /with"},
		{"date", "LD_LIBRARY_PATH=/with;/without", "LD_LIBRARY_PATH: a twin would not look in /with"},
		{"date", "LD_LIBRARY_PATH=:/without", "LD_LIBRARY_PATH: a twin would not look in ."},
		{"date", "LD_LIBRARY_PATH=$ORIGIN/x", "LD_LIBRARY_PATH: a twin would not look in $ORIGIN/x"},
	} {
		v := verdict(t, c.program, "/usr/bin", "")
		v.set.Files = append(v.set.Files, File{Path: "lib/libz.so.1"})
		has := func(dir string, names []string) bool {
			return (dir == "/with" || dir == ".") && slices.Contains(names, "libz.so.1") && slices.Contains(names, "glibc-hwcaps")
		}
		_, why := v.Fit(Call{Env: []string{c.entry}, Dir: "/twins", Has: has})
		assert.Equal(t, c.why, why, c.entry)
	}
}

// Each program that may do without a library has a rule.
func TestPreloads(t *testing.T) {
	for _, p := range preloads {
		_, err := Programs(strings.Fields(p.only))
		assert.NoError(t, err, p.file)
	}
}
