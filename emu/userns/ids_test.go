package userns

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHousehold(t *testing.T) {
	for name, c := range map[string]struct {
		self uint64
		subs []Range
		want []Range
	}{
		"in the middle":           {1000, []Range{{0, 100000, 65536}}, []Range{{0, 100000, 1000}, {1000, 1000, 1}, {1001, 101000, 64536}}},
		"first":                   {0, []Range{{0, 100000, 10}}, []Range{{0, 0, 1}, {1, 100000, 10}}},
		"behind all":              {5000, []Range{{0, 100000, 1000}}, []Range{{0, 100000, 1000}, {5000, 5000, 1}}},
		"at the border of two":    {10, []Range{{0, 100, 10}, {0, 500, 10}}, []Range{{0, 100, 10}, {10, 10, 1}, {11, 500, 10}}},
		"last of one":             {9, []Range{{0, 100, 10}}, []Range{{0, 100, 9}, {9, 9, 1}, {10, 109, 1}}},
		"in the second of two":    {15, []Range{{0, 100, 10}, {0, 500, 10}}, []Range{{0, 100, 10}, {10, 500, 5}, {15, 15, 1}, {16, 505, 5}}},
		"nobody, one below 64 Ki": {65534, []Range{{0, 100000, 65536}}, []Range{{0, 100000, 65534}, {65534, 65534, 1}, {65535, 165534, 2}}},
	} {
		assert.Equal(t, c.want, household(c.self, c.subs), name)
	}
}

// The layout is that of buildah, podman and rootlesskit.
func TestBehindRoot(t *testing.T) {
	assert.Equal(t, []Range{{0, 1000, 1}, {1, 100000, 10}, {11, 500, 5}}, behindRoot(1000, []Range{{0, 100000, 10}, {0, 500, 5}}))
}

func TestParseSubordinate(t *testing.T) {
	text := "# a comment\nother:1:2\nme:100000:65536\n1000:300000:10\nme:x:10\nme:5:0\nme:4294967295:2\nme:1\n"
	ranges, err := parseSubordinate(strings.NewReader(text), "me", "1000")
	require.NoError(t, err)
	assert.Equal(t, []Range{{Outside: 100000, Count: 65536}, {Outside: 300000, Count: 10}}, ranges)
}

func FuzzParseSubordinate(f *testing.F) {
	f.Add("me:100000:65536\n1000:1:1\n", uint64(1000))
	f.Fuzz(func(t *testing.T, text string, self uint64) {
		ranges, err := parseSubordinate(strings.NewReader(text), "me", "1000")
		if err != nil || self >= 1<<32 {
			return
		}
		// Whatever the file says, no id is mapped twice, and the caller is himself.
		next, mine := uint64(0), 0
		for _, r := range household(self, ranges) {
			assert.GreaterOrEqual(t, r.Inside, next)
			assert.NotZero(t, r.Count)
			next = r.Inside + r.Count
			if r == (Range{self, self, 1}) {
				mine++
			}
		}
		assert.GreaterOrEqual(t, mine, 1)
	})
}
