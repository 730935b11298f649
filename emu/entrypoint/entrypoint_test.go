package entrypoint

import (
	"bytes"
	"errors"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample has a field of each type.
type sample struct {
	Text   string
	Yes    bool
	Count  int
	Mask   uint64
	Nr     uint32
	Raw    []byte
	Argv   []string
	Pairs  []pair
	Inner  *pair
	Last   string
	hidden int // not part of it
}

type pair struct{ A, B string }

func (p *pair) Fields(w *Words) { w.String(&p.A, &p.B) }

func (s *sample) Fields(w *Words) {
	w.String(&s.Text)
	w.Bool(&s.Yes)
	Number(w, &s.Count)
	Number(w, &s.Mask)
	Number(w, &s.Nr)
	w.Bytes(&s.Raw)
	w.Strings(&s.Argv)
	List(w, &s.Pairs, func(w *Words, p *pair) { p.Fields(w) })
	Optional(w, &s.Inner, func(w *Words, p *pair) { p.Fields(w) })
	w.String(&s.Last)
}

func TestRoundTrip(t *testing.T) {
	for _, s := range []sample{
		{},
		{Text: "a b\n\xff'\"", Yes: true, Count: math.MinInt, Mask: math.MaxUint64, Nr: math.MaxUint32, Raw: []byte{0, 1, 0xff},
			Argv: []string{"", "--", ":launch", "\xc3\x28"}, Pairs: []pair{{}, {"1", "2"}}, Inner: &pair{"x", ""}, Last: "0"},
	} {
		words, err := Write(&s)
		require.NoError(t, err)
		var back sample
		require.NoError(t, Read(words, &back))
		assert.Equal(t, s, back)

		text, err := Pack(&s)
		require.NoError(t, err)
		back = sample{hidden: 1}
		require.NoError(t, unpack(string(text), &back))
		back.hidden = 0
		assert.Equal(t, s, back)
	}
	require.NoError(t, unpack("", &Nothing{}))
	_, err := Argv(Launch, &sample{Text: "a\x00b"})
	require.ErrorIs(t, err, errNUL)
}

// A message passes an exec unchanged.
func TestThroughExec(t *testing.T) {
	s := sample{Text: "\x01\xfe\n ", Argv: []string{"", "\xff"}}
	argv, err := Argv(Probe, &s)
	require.NoError(t, err)
	out, err := (&exec.Cmd{Path: "/bin/sh", Args: append([]string{"sh", "-c", `printf '%s\0' "$@"`}, argv...)}).Output()
	require.NoError(t, err)
	text, err := Pack(&s)
	require.NoError(t, err)
	assert.Equal(t, string(Probe)+"\x00"+string(text), string(out))
}

func TestReadRefuses(t *testing.T) {
	good, err := Write(&sample{Argv: []string{"x"}})
	require.NoError(t, err)
	for at, bad := range map[int][]string{1: {"2", "yes", "", "01"}, 2: {"+1", "x", "9223372036854775808"}, 4: {"-1", "4294967296"}, 5: {"0", "AB", "zz"}, 6: {"-1", "99999999999"}} {
		for _, word := range bad {
			words := append([]string{}, good...)
			words[at] = word
			assert.Error(t, Read(words, &sample{}), "word %d is %q", at, word)
		}
	}
	assert.ErrorIs(t, Read(good[:len(good)-1], &sample{}), errMissing)
	assert.ErrorContains(t, Read(append(good, "more"), &sample{}), `"more" and what follows is too much`)
	assert.ErrorContains(t, unpack("cut", &sample{}), "cut off")
}

func TestRow(t *testing.T) {
	failure := errors.New("ran")
	var got []string
	table := []Row{{Hold, func(words []string) error { got = words; return failure }}}
	ok, err := Main(table, []string{"binproxy", ":hold", "a", ":hold"})
	assert.True(t, ok)
	assert.Equal(t, failure, err)
	assert.Equal(t, []string{"a", ":hold"}, got)
	for _, argv := range [][]string{nil, {":hold"}, {"binproxy", "hold"}, {"binproxy", ":make"}, {"binproxy", "x", ":hold"}} {
		ok, _ := Main(table, argv)
		assert.False(t, ok, "%q", argv)
	}
}

// Reading ends whatever the words are, and accepts only what Write makes.
func FuzzRead(f *testing.F) {
	for _, s := range []sample{{}, {Argv: []string{"a", "\xff"}, Pairs: []pair{{"1", "2"}}, Inner: &pair{}, Raw: []byte("x")}} {
		text, err := Pack(&s)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("cut"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s sample
		if unpack(string(text), &s) != nil {
			return
		}
		again, err := Pack(&s)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, again), "%q is read, %q is written", text, again)
	})
}

// Any message survives writing and reading.
func FuzzWrite(f *testing.F) {
	f.Add("a b", int64(-1), []byte{0, 1}, "x", "")
	f.Fuzz(func(t *testing.T, text string, n int64, raw []byte, argument, other string) {
		s := sample{Text: text, Count: int(n), Mask: uint64(n), Nr: uint32(n), Raw: raw, Argv: []string{argument, other}, Inner: &pair{other, text}}
		if len(raw) == 0 {
			s.Raw = nil
		}
		words, err := Write(&s)
		if strings.Contains(text+argument+other, "\x00") {
			require.ErrorIs(t, err, errNUL)
			return
		}
		require.NoError(t, err)
		var back sample
		require.NoError(t, Read(words, &back))
		require.Equal(t, s, back)
	})
}
