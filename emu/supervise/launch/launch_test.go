package launch

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOrder(t *testing.T) {
	for _, o := range []order{
		{},
		{ignored: 0x8000000000000001, closed: 5, root: "/a b", dir: "--", lend: true, socket: 17},
	} {
		got, rest, err := parseOrder(append(o.words(), "command", "argv0", "--", "x"))
		require.NoError(t, err)
		require.Equal(t, o, got)
		require.Equal(t, []string{"command", "argv0", "--", "x"}, rest)
	}
	for _, words := range [][]string{nil, {"x"}, {"0 0 false 0", "", "", "--"}, {"0 0 maybe 0", "", "", "--", "c", "a"}} {
		_, _, err := parseOrder(words)
		require.Error(t, err, "%q", words)
	}
}

// What the launcher may send, and what it may not.
func TestListener(t *testing.T) {
	for _, c := range []struct {
		text string
		fds  int
		want string // in the error; "" for a listener
	}{
		{withListener, 1, ""},
		{withListener, 0, "the launcher sent no listener"},
		{withListener, 2, "the launcher sent 2 listeners"},
		{alone, 0, ErrAlone.Error()},
		{refusal + "why", 0, "the route supervise is refused: why"},
		{"", -1, "the filter's listener: resource temporarily unavailable"},
	} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		var rights []byte
		if c.fds > 0 {
			rights = unix.UnixRights([]int{pair[0], pair[1]}[:c.fds]...)
		}
		if c.fds >= 0 {
			require.NoError(t, unix.Sendmsg(pair[1], []byte(c.text), rights, nil, 0))
		}
		fd, err := (&Child{socket: pair[0]}).Listener()
		if c.want == "" {
			require.NoError(t, err)
			unix.Close(fd)
		} else {
			require.EqualError(t, err, c.want)
		}
		unix.Close(pair[0])
		unix.Close(pair[1])
	}
}
