package spoof

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
)

func TestRules(t *testing.T) {
	require.Empty(t, rules(identity.Identity{}, identity.ProcTrace), "nothing is stopped that nobody asked for")
	no := rules(identity.Identity{Release: "4.15.0"}, identity.ProcNo)
	require.NotEmpty(t, no)
	covered := rules(identity.Identity{Release: "4.15.0"}, identity.ProcCovered)
	require.Len(t, covered, len(no)+len(newCalls), "opens are stopped in new user namespaces only")
}

func TestFill(t *testing.T) {
	id := identity.Identity{Release: "4.15.0-112-generic", Machine: strings.Repeat("m", identity.MaxField)}
	for _, l := range []layout{newUtsname, oldoldUtsname} {
		b := []byte(strings.Repeat("x", 5*int(l)) + "behind")
		l.fill(b, id)
		field := func(n int) string { return string(b[n*int(l) : (n+1)*int(l)]) }
		padded := func(s string) string {
			return s[:min(len(s), int(l)-1)] + strings.Repeat("\x00", max(1, int(l)-len(s)))
		}
		require.Equal(t, strings.Repeat("x", int(l)), field(0), "nobody set it")
		require.Equal(t, padded(id.Release), field(2))
		require.Equal(t, padded(id.Machine), field(4))
		require.True(t, strings.HasSuffix(string(b), "behind"))
	}
}

func TestAuxEntry(t *testing.T) {
	var wide, narrow []byte
	for _, pair := range [][2]uint64{{32, 0xf7fc1570}, {33, 0xf7fc1000}, {6, 4096}, {0, 0}} {
		for _, v := range pair {
			wide = binary.LittleEndian.AppendUint64(wide, v)
			narrow = binary.LittleEndian.AppendUint32(narrow, uint32(v))
		}
	}
	for _, b := range [][]byte{wide, narrow} {
		require.EqualValues(t, 0xf7fc1000, auxEntry(b, 33))
		require.EqualValues(t, 4096, auxEntry(b, 6))
		require.Zero(t, auxEntry(b, 7))
	}
	require.Zero(t, auxEntry(nil, 33))
}

// TestVDSOPatches finds the note in our own vDSO.
func TestVDSOPatches(t *testing.T) {
	aux, err := os.ReadFile("/proc/self/auxv")
	require.NoError(t, err)
	base := auxEntry(aux, vdsoKey)
	require.NotZero(t, base)
	memory, err := os.Open("/proc/self/mem")
	require.NoError(t, err)
	defer memory.Close()
	read := func(at uint64, b []byte) error {
		_, err := memory.ReadAt(b, int64(base+at))
		return err
	}
	header := make([]byte, elfHeader)
	require.NoError(t, read(0, header))
	patches := vdsoPatches(header, "1.2.3", read)
	require.NotEmpty(t, patches)
	require.Contains(t, string(patches[0].text), "Linux\x00\x00\x00\x03\x02\x01\x00")
	require.Empty(t, vdsoPatches(header, "no numbers, and no note of a salt is as long as this text, which nobody takes for a release", func(at uint64, b []byte) error {
		return unix.EFAULT
	}))
}

// The text of a file is written completely, or the error says how much was written.
func TestShortWrite(t *testing.T) {
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	defer unix.Close(p[0])
	size, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 4096)
	require.NoError(t, err)
	err = write(p[1], make([]byte, size+1))
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.EqualError(t, err, fmt.Sprintf("write %d bytes into memory: %d, short write", size+1, size))
	unix.Close(p[1])
	require.ErrorIs(t, write(p[1], []byte("x")), unix.EBADF)
}
