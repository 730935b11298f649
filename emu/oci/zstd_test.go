package oci

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// compressed returns the output of zstd(1) for bytes.
func compressed(t testing.TB, b []byte, options ...string) []byte {
	t.Helper()
	cmd := exec.Command(need.Program(t, "zstd", "zstd"), append([]string{"-c", "-q"}, options...)...)
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

func unpacked(r io.Reader) ([]byte, error) {
	z, err := unzstd(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// samples are bytes of different kinds, which compress to every kind of block, of literals and of
// tables.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	noise, skewed := make([]byte, 300_000), make([]byte, 500_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	for i := range skewed {
		skewed[i] = byte(random.ExpFloat64() * 9)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	program, err := os.ReadFile(self)
	require.NoError(t, err)
	var text strings.Builder
	for i := range 15_000 {
		fmt.Fprintf(&text, "line %d of %x: the quick brown fox\n", i, random.IntN(1+i))
	}
	far := append(bytes.Clone(noise), skewed...)
	return map[string][]byte{
		"nothing": {}, "a byte": {7}, "short": []byte("hello, hello, hello\n"), "zeros": make([]byte, 400_000), "noise": noise, "skewed": skewed,
		"program": program[:min(len(program), 700_000)], "text": []byte(text.String()), "repeated far back": append(far, noise...),
	}
}

// Unpacking restores what zstd(1) packed, at every level.
func TestAgainstZstd(t *testing.T) {
	for name, want := range samples(t) {
		for _, options := range [][]string{{"-1"}, {"-3"}, {"-9"}, {"-16"}, {"--fast=5"}, {"-3", "--no-check"}, {"-3", "--long=27"}, {"--ultra", "-22", "--zstd=wlog=19"}} {
			t.Run(fmt.Sprint(name, options), func(t *testing.T) {
				if options[0] == "-16" || options[0] == "--ultra" {
					need.Long(t)
				}
				got, err := unpacked(bytes.NewReader(compressed(t, want, options...)))
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got), "%d bytes, not %d", len(got), len(want))
			})
		}
	}
}

// A frame of known size comes from a file; several frames may follow one another, with skippable
// frames between them.
func TestFrames(t *testing.T) {
	path := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("sized ", 100)), 0o666))
	sized, err := exec.Command(need.Program(t, "zstd", "zstd"), "-c", "-q", path).Output()
	require.NoError(t, err)
	skip := []byte{0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}
	stream := bytes.Join([][]byte{skip, sized, skip, compressed(t, []byte("two")), compressed(t, nil), skip}, nil)
	got, err := unpacked(iotest.OneByteReader(bytes.NewReader(stream)))
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("sized ", 100)+"two", string(got))
}

func TestDamagedZstd(t *testing.T) {
	whole := compressed(t, samples(t)["text"])
	for name, b := range map[string][]byte{
		"no frame": []byte("hello, world"), "the end is cut off": whole[:len(whole)-1], "the checksum is cut off": whole[:len(whole)-4],
		"half": whole[:len(whole)/2], "bytes behind it": append(bytes.Clone(whole), 1, 2, 3, 4, 5), "a byte behind it": append(bytes.Clone(whole), 1),
		"a skippable frame is cut off": {0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1}, "an unknown bit": {0x28, 0xb5, 0x2f, 0xfd, 0x08, 0x00, 0x09},
		"a block larger than the window": {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 0x02, 0x20, 0x00, 7}, "a block of no kind": {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x07, 0, 0},
	} {
		_, err := unpacked(bytes.NewReader(b))
		require.ErrorContains(t, err, "zstd: ", name)
	}
	// A change of any byte is detected, by the blocks or by the checksum.
	short := compressed(t, []byte(strings.Repeat("hello, world ", 50)+"bye"))
	for i := 6; i < len(short); i++ {
		b := bytes.Clone(short)
		b[i] ^= 0x11
		_, err := unpacked(bytes.NewReader(b))
		require.Error(t, err, "byte %d", i)
	}
}

// The header of a frame is not trusted: neither the stated size nor the stated window takes more
// memory than allowed. The fourth is a segment of 128 MiB and a byte, the sixth is of the maximum
// size and empty.
func TestHeaders(t *testing.T) {
	const magic = "\x28\xb5\x2f\xfd"
	for _, c := range []struct{ header, want string }{
		{"\x01\x00\x09", "the frame wants a dictionary, which is not supported"},
		{"\x00\x90", "a window of 128 MiB is the most"}, // 256 MiB
		{"\x00\xff", "a window of 128 MiB is the most"},
		{"\xe0\x01\x00\x00\x08\x00\x00\x00\x00", "a window of 128 MiB is the most"},
		{"\xe0\xff\xff\xff\xff\xff\xff\xff\xff", "a window of 128 MiB is the most"},
		{"\xa0\xff\xff\xff\x07\x03\x00\x00x", "does not match size on stream"},
		{"\xc0\x00\xff\xff\xff\xff\xff\xff\xff\x7f\x09\x00\x00x", "does not match size on stream"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := unpacked(strings.NewReader(magic + c.header))
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, c.want, "%x", c.header)
		require.ErrorContains(t, err, "zstd: ")
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(maxWindow+4<<20), "%x", c.header)
	}
}

// Read errors are passed on.
func TestReadError(t *testing.T) {
	whole := compressed(t, []byte("hello"))
	_, err := unpacked(io.MultiReader(bytes.NewReader(whole[:6]), iotest.ErrReader(os.ErrPermission)))
	require.ErrorIs(t, err, os.ErrPermission)
}

// mostBlock is the largest size of an unpacked block.
const mostBlock = 128 << 10

// Any bytes give bytes or an error, never more than allowed.
func FuzzZstd(f *testing.F) {
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x29, 0, 0, 'h', 'e', 'l', 'l', 'o'})
	if path, err := exec.LookPath("zstd"); err == nil {
		for _, text := range []string{"", "hello", strings.Repeat("hello, hello ", 30), strings.Repeat("abcdefghijklmnopqrstuvwxyz0123456789", 900)} {
			cmd := exec.Command(path, "-c", "-q", "-19")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.Output(); err == nil {
				f.Add(out)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		z, err := unzstd(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, io.LimitReader(z, 64<<20))
		if err == nil && n > int64(len(b)+4)*mostBlock {
			t.Fatalf("%d bytes gave %d", len(b), n)
		}
	})
}
