package execs

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// A signal that a program ignores does not end its waits, although its tracer is told of the
// signal.
func TestWaits(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("needs an amd64 host: see docs/supervise.md")
	}
	for _, k := range []kind{kinds[0], kinds[2]} {
		t.Run(k.name, func(t *testing.T) {
			b := newBench(t, k)
			for _, program := range []string{"@/probe", "@/native"} {
				for what, lines := range map[string]int{"waits": 6, "streams": 12} {
					want := b.kernel(t, nil, program, what)
					require.Len(t, want.Output, lines)
					require.Equal(t, want, b.supervised(t, "", nil, program, what), "%s %s", program, what)
				}
			}
		})
	}
}
