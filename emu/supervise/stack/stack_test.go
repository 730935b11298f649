package stack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// image is a process's memory from base on.
type image struct {
	base uint64
	data []byte
}

func (m *image) Read(addr uint64, b []byte) error {
	if addr < m.base || addr+uint64(len(b)) > m.base+uint64(len(m.data)) {
		return unix.EFAULT
	}
	copy(b, m.data[addr-m.base:])
	return nil
}

func (m *image) ReadString(addr uint64, limit int) (string, error) {
	if addr < m.base || addr >= m.base+uint64(len(m.data)) {
		return "", unix.EFAULT
	}
	text, _, _ := bytes.Cut(m.data[addr-m.base:], []byte{0})
	if len(text) >= limit {
		return "", unix.ENAMETOOLONG
	}
	return string(text), nil
}

func (m *image) text(t *testing.T, addr uint64) string {
	t.Helper()
	require.GreaterOrEqual(t, addr, m.base)
	rest := m.data[addr-m.base:]
	return string(rest[:bytes.IndexByte(rest, 0)])
}

// newImage lays out a new program's stack as the kernel does, with room below it, and returns the
// stack pointer.
func newImage(argv, envp []string, aux []uint64) (*image, uint64) {
	const top, size = 0x7ffffffff000, 1 << 16
	m := &image{top - size, make([]byte, size)}
	at := uint64(top - 8)
	lay := func(list []string) []uint64 {
		words := make([]uint64, len(list))
		for i := len(list) - 1; i >= 0; i-- {
			at -= uint64(len(list[i]) + 1)
			copy(m.data[at-m.base:], list[i])
			words[i] = at
		}
		return words
	}
	env := lay(envp)
	words := append([]uint64{uint64(len(argv))}, lay(argv)...)
	words = append(append(append(words, 0), env...), 0)
	words = append(words, aux...)
	sp := (at - uint64(8*len(words))) &^ 15
	for i, w := range words {
		binary.LittleEndian.PutUint64(m.data[sp-m.base+uint64(8*i):], w)
	}
	return m, sp
}

func (m *image) texts(t *testing.T, words []uint64) (list []string) {
	for _, at := range words {
		list = append(list, m.text(t, at))
	}
	return list
}

func TestRewrite(t *testing.T) {
	aux := []uint64{33, 0x7fff12345000, 6, 4096, 0, 0}
	for _, argc := range []int{0, 1, 2, 7, 300} {
		for _, more := range []int{0, 1, 4, 5} {
			t.Run(fmt.Sprint(argc, " ", more), func(t *testing.T) {
				var argv []string
				for i := range argc {
					argv = append(argv, fmt.Sprint("argument", i))
				}
				envp := []string{"A=1", "EMPTY=", "=odd"}
				m, sp := newImage(argv, envp, aux)
				old, err := Read(sp, m)
				require.NoError(t, err)
				require.Equal(t, argv, m.texts(t, old.Argv))
				require.Equal(t, envp, m.texts(t, old.Envp))
				require.Equal(t, aux, old.Aux)

				var arguments []Argument
				var want []string
				for i := range more {
					arguments = append(arguments, Argument{Text: fmt.Sprint("new", i)})
					want = append(want, fmt.Sprint("new", i))
				}
				for i, at := range old.Argv {
					arguments = append(arguments, Argument{At: at})
					want = append(want, argv[i])
				}
				new := old.Rewrite(sp, Lists{Argv: arguments, Envp: append(placed(old.Envp[1:]), Argument{Text: "NEW=x"})}, []uint64{AuxExecfd, 3}, "name")
				require.Zero(t, new.SP%16)
				require.Equal(t, sp+old.size(), new.SP+uint64(len(new.Bytes)), "nothing above is touched")
				copy(m.data[new.SP-m.base:], new.Bytes)
				got, err := Read(new.SP, m)
				require.NoError(t, err)
				require.Equal(t, want, m.texts(t, got.Argv))
				require.Equal(t, append(envp[1:len(envp):len(envp)], "NEW=x"), m.texts(t, got.Envp))
				require.Equal(t, append([]uint64{AuxExecfd, 3}, aux...), got.Aux)
				require.Equal(t, "name", m.text(t, new.Name))
			})
		}
	}
}

// ragged is an image whose last read may be short.
type ragged struct{ *image }

func (m ragged) Read(addr uint64, b []byte) error {
	end := m.base + uint64(len(m.data))
	n := min(uint64(len(b)), end-min(addr, end))
	if n == 0 {
		return unix.EFAULT
	}
	clear(b)
	return m.image.Read(addr, b[:n])
}

// Whatever is at a stack pointer, reading it ends, and what was read can be written.
func FuzzRead(f *testing.F) {
	m, sp := newImage([]string{"a", "b"}, []string{"C=d"}, []uint64{6, 4096, 0, 0})
	f.Add(m.data[sp-m.base:])
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := ragged{&image{0x10000, append(data, make([]byte, 16)...)}}
		m.data = m.data[:len(m.data)&^7]
		s, err := Read(m.base, m)
		if err != nil {
			return
		}
		l := Lists{Argv: []Argument{{Text: "x"}}, Envp: placed(s.Envp)}
		new := s.Rewrite(m.base, l, nil, "n")
		require.Equal(t, m.base+s.size(), new.SP+uint64(len(new.Bytes)))
	})
}

func TestSecure(t *testing.T) {
	for aux, want := range map[[2]uint64]bool{{auxSecure, 1}: true, {auxSecure, 0}: false, {6, auxSecure}: false} {
		require.Equal(t, want, Stack{Aux: []uint64{3, 4, aux[0], aux[1], 0, 0}}.Secure(), "%v", aux)
	}
	require.False(t, Stack{}.Secure())
}
