package launch

import (
	"testing"

	"binproxy/emu/command"
	"binproxy/emu/identity"
	"binproxy/test/lib/fields"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOrder(t *testing.T) {
	fields.Arrive(t, &order{
		Command: command.Command{Name: "command", Argv: []string{"argv0", "--", "\xff"}, Root: "/a b", Dir: "--"},
		ignored: 0x8000000000000001, closed: 5, lend: true, socket: 17, twins: "/t",
		identity: identity.Identity{Sysname: "S", Nodename: "n", Release: "4.15", Version: "#1 \n", Machine: "m"}, proc: identity.ProcTrace,
	}, new(order), ".Command.Env")
}

// What the launcher may send, and what it may not send.
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

func TestParsePair(t *testing.T) {
	want := Pair{ends: [2]int{3, 17}, pid: 4711}
	got, err := ParsePair(want.String())
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, text := range []string{"", "3 17", "3 17 4711 1", "3 x 4711", "99999999999999999999 17 4711"} {
		_, err := ParsePair(text)
		require.Error(t, err, text)
	}
}
