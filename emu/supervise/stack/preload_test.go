package stack

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// It is found wherever it lies, across pages too, and what only begins like it is not.
func TestHasPreload(t *testing.T) {
	has := func(env ...string) bool {
		m, sp := newImage([]string{"x"}, env, []uint64{0, 0})
		s, err := Read(sp, m)
		require.NoError(t, err)
		return s.HasPreload(m)
	}
	assert.False(t, has())
	assert.False(t, has("A=", "LD_PRELOADS=x", "LD_PRELOA=", "ld_preload=x", "L"))
	for _, entry := range []string{"LD_PRELOAD=", "LD_PRELOAd=x"} {
		assert.True(t, has(entry))
		for n := range 2 * pageSize {
			require.True(t, has("A=1", entry, strings.Repeat("y", n)), n)
		}
	}
	for entry, want := range map[string][2]bool{"LD_PRELOAD=x": {true, true}, "LD_PRELOAd=": {false, true}, "LD_PRELOA": {}, "": {}} {
		shown, ok := IsPreload(entry)
		assert.Equal(t, want, [2]bool{shown, ok}, entry)
	}
}
