package tracee

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The record of a thread ends with the thread, and does not apply to a thread that takes over its
// number; its end stays on record.
func TestOutdated(t *testing.T) {
	stops := []Stop{{TID: 7, Kind: Seccomp}, {TID: 8, Kind: Fork}, {TID: 7, Kind: Ended}, {TID: 7, Kind: Signal}}
	for _, c := range []struct {
		stop Stop
		kept []Stop
	}{
		{Stop{TID: 7, Kind: Exec}, []Stop{stops[1], stops[2]}},
		{Stop{TID: 7, Kind: Ended}, []Stop{stops[1], stops[2]}},
		{Stop{TID: 7, Kind: Group}, stops},
		{Stop{TID: 9, Kind: Exec}, stops},
	} {
		tracer := Tracer{kept: slices.Clone(stops)}
		require.Equal(t, c.stop, tracer.outdate(c.stop))
		require.Equal(t, c.kept, tracer.kept, "%+v", c.stop)
	}
}
