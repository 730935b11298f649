package sight

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

const statusText = "Name:\tloop\nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t7\nPid:\t8\nPPid:\t6\n" +
	"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t8 9 1000 \n" +
	"SigBlk:\t0000000000010000\nSigIgn:\t0000000000001000\nSigCgt:\t8000000180004002\n" +
	"CapInh:\t0000000000000000\nCapPrm:\t000001fffeffffff\nCapEff:\t00000000a80425fb\n"

func TestParseStatus(t *testing.T) {
	ids := sys.FileIDs{UID: 4, GID: 8, Groups: []int{8, 9, 1000}, Effective: 0xa80425fb}
	has := rights{users: [2]int{1, 2}, groups: [2]int{5, 6}, permitted: 0x1fffeffffff}
	want := Status{FileIDs: ids, rights: has, Group: 7, Parent: 6, Ignored: 1 << 12, Caught: 0x8000000180004002}
	require.Equal(t, want, parseStatus([]byte(statusText)))
	// A name cannot imitate another line: the kernel escapes newlines in it.
	named := strings.Replace(statusText, "Name:\tloop", "Name:\t\\nUid:\t0\t0\t0\t0", 1)
	require.Equal(t, want, parseStatus([]byte(named)))

	nothing := Status{FileIDs: sys.FileIDs{UID: -1, GID: -1}, Caught: ^uint64(0)}
	for _, text := range []string{"", "Uid:\t0\n", "SigCgt:\tx\n", "Gid:\t1\t2\t3\tx\n"} {
		st := parseStatus([]byte(text))
		st.rights = rights{}
		require.Equal(t, nothing, st, "%q", text)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Fuzz(func(t *testing.T, text []byte) { parseStatus(text) })
}

func TestBits(t *testing.T) {
	file := &unix.Stat_t{Uid: 10, Gid: 20, Mode: 0o754}
	for _, c := range []struct {
		ids  sys.FileIDs
		want uint32
	}{
		{sys.FileIDs{UID: 10, GID: 1}, 7},
		{sys.FileIDs{UID: 1, GID: 20}, 5},
		{sys.FileIDs{UID: 1, GID: 1, Groups: []int{3, 20}}, 5},
		{sys.FileIDs{UID: 1, GID: 1}, 4},
		{sys.FileIDs{UID: 0, Effective: 1 << unix.CAP_DAC_OVERRIDE}, 7},
		{sys.FileIDs{UID: 0}, 4},
	} {
		require.Equal(t, c.want, Stance{ids: c.ids}.bits(file), "%+v", c.ids)
	}
	file.Mode = 0o644
	able := sys.FileIDs{Effective: 1 << unix.CAP_DAC_OVERRIDE}
	require.EqualValues(t, 6, Stance{ids: able}.bits(file), "nobody may execute it")
}

// What an exec changes in a thread's rights, and what root regains by it.
func TestGained(t *testing.T) {
	user := rights{users: [2]int{1000, 1000}, groups: [2]int{100, 100}, permitted: 6}
	for _, c := range []struct {
		change func(*rights)
		want   bool
	}{
		{func(*rights) {}, false},
		{func(r *rights) { r.permitted = 2 }, false},
		{func(r *rights) { r.permitted = 7 }, true},
		{func(r *rights) { r.users[1] = 0 }, true},
		{func(r *rights) { r.groups[1] = 0 }, true},
	} {
		now := user
		c.change(&now)
		require.Equal(t, c.want, user.less(now), "%+v", now)
	}
	root := rights{users: [2]int{1000, 0}}
	require.False(t, root.less(rights{users: root.users, permitted: 7}))
}

// A stance from before an exec is compared with the thread after it.
func TestProgram(t *testing.T) {
	sights(t, func(t *testing.T, s *Sight) {
		exe, err := sys.Open("/proc/self/exe", unix.O_PATH)
		require.NoError(t, err)
		defer unix.Close(exe)
		want, err := s.Identify(exe)
		require.NoError(t, err)
		st, err := s.stanceFor(unix.Gettid())
		require.NoError(t, err)
		file, err := s.Program(st, unix.Gettid())
		require.NoError(t, err)
		require.Equal(t, want, file)
		require.False(t, s.Gained(st, unix.Gettid()))
		st.told, st.rights.users[1] = true, 12345
		require.True(t, s.Gained(st, unix.Gettid()))
	})
}
