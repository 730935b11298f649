package kernel

import (
	"bytes"
	"compress/gzip"
	"testing"

	"github.com/stretchr/testify/require"
)

func pack(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

func TestUnpack(t *testing.T) {
	f, err := unpack(pack(t, "release\t2.6.32\t2009-12\nname\tread\nabi\tarm\t2\ncall\t3\t0\t0\t254\t0\ncall\t2\t0\t0\t254\t0\nprofile\tel7\tarm\t0\t5\t1 2\t\tseen\n"))
	require.NoError(t, err)
	require.Equal(t, []ABI{{"arm", []row{{3, 0, 0, still, 0}, {5, 0, 0, still, 0}}}}, f.abis)
	require.Equal(t, []profile{{"el7", "arm", 0, 5, []uint16{1, 2}, nil, "seen"}}, f.profiles)
	for text, want := range map[string]string{
		"abi\tarm\t1\ncall\t3\t0\t0\t256\t0\n": "value out of range",
		"abi\tarm\t1\ncall\tx\t0\t0\t254\t0\n": "invalid syntax",
		"abi\tarm\t1\ncall\t3\t0\t0\t254\n":    "invalid syntax",
		"name\tread\twrite\n":                  `"write"`,
		"names\tread\n":                        `"names"`,
	} {
		_, err := unpack(pack(t, text))
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "damaged at", text)
	}
	_, err = unpack(packed[:len(packed)/2])
	require.Error(t, err)
}

// BenchmarkUnpack is what a command pays that asks for a fact.
func BenchmarkUnpack(b *testing.B) {
	for b.Loop() {
		if _, err := unpack(packed); err != nil {
			b.Fatal(err)
		}
	}
}
