package supervise

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// A call that is interrupted again and again ends when its timeout is over; the next call starts
// with a new timeout.
func TestWaiting(t *testing.T) {
	var w waiting
	start := time.Unix(1000, 0)
	at := func(d time.Duration, c tracee.Wait) bool { return w.over(c, start.Add(d)) }
	call, other, endless := tracee.Wait{IP: 1, Timeout: time.Second}, tracee.Wait{IP: 2, Timeout: time.Second}, tracee.Wait{IP: 3, Timeout: -1}
	require.False(t, at(0, call))
	require.False(t, at(600*time.Millisecond, call))
	require.True(t, at(1100*time.Millisecond, call))
	w = waiting{} // it is over
	require.False(t, at(1200*time.Millisecond, call))
	require.False(t, at(1300*time.Millisecond, other))
	require.False(t, at(2250*time.Millisecond, call))
	require.False(t, at(4*time.Second, call), "the one before must have ended")
	require.False(t, at(5*time.Second, endless))
	require.False(t, at(time.Hour, endless))
}

func TestSearch(t *testing.T) {
	for _, at := range []int{0, 1, 65535, 65536, 65537, 200000} {
		data := make([]byte, 300000)
		copy(data[at:], "\x0f\x05")
		for _, r := range []int{1 << 20, 1000} {
			got, ok := search(&slowReader{bytes.NewReader(data), r}, []byte("\x0f\x05"))
			require.True(t, ok)
			require.EqualValues(t, at, got)
		}
	}
	_, ok := search(strings.NewReader("\x0f"), []byte("\x0f\x05"))
	require.False(t, ok)
}

type slowReader struct {
	r    *bytes.Reader
	most int
}

func (s *slowReader) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), s.most)]) }

func TestRequestName(t *testing.T) {
	for _, c := range []struct {
		r    request
		want string
	}{
		{request{path: "a", dirfd: unix.AT_FDCWD}, ""},
		{request{path: "/a", dirfd: 5}, ""},
		{request{path: "a/b", dirfd: 5}, "/dev/fd/5/a/b"},
		{request{path: "", dirfd: 5}, "/dev/fd/5"},
	} {
		require.Equal(t, c.want, c.r.name())
	}
}
