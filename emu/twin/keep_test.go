package twin

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is known of a guest's files does not grow with their number.
func TestKeep(t *testing.T) {
	known := map[ID]int{}
	for i := range 3 * maxKnown {
		keep(known, ID{Ino: uint64(i)}, i)
		require.LessOrEqual(t, len(known), maxKnown)
		require.Equal(t, i, known[ID{Ino: uint64(i)}])
	}
}
