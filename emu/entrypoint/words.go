package entrypoint

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"binproxy/emu/exit"
)

// Message is what a mode gets. For each of its fields in order, Fields calls the method of Words
// for the field's type.
type Message interface{ Fields(w *Words) }

// Nothing is the message of a mode that needs none.
type Nothing struct{}

// Fields has nothing to visit.
func (*Nothing) Fields(*Words) {}

// Words is a message in transit: it goes into the list when written, and comes out of it when
// read. Nothing happens after the first error.
type Words struct {
	list    []string
	reading bool
	err     error
}

// Write gives the message's words.
func Write(m Message) ([]string, error) {
	var w Words
	m.Fields(&w)
	return w.list, w.err
}

// Read reads a message, and accepts only the words that Write makes of it. Their number bounds
// what it allocates.
func Read(words []string, m Message) error {
	w := Words{list: words, reading: true}
	m.Fields(&w)
	if w.err == nil && len(w.list) > 0 {
		w.err = fmt.Errorf("%q and what follows is too much", w.list[0])
	}
	if w.err != nil {
		return exit.Errorf(exit.Failed, "this is for binproxy itself to call, and not by hand: %w", w.err)
	}
	return nil
}

const (
	errMissing = exit.Sentinel("words are missing")
	errNUL     = exit.Sentinel("it has a NUL byte, which no path or argument can have")
)

// word writes the word, or reads one.
func (w *Words) word(word string) string {
	switch {
	case w.err != nil:
	case !w.reading && strings.Contains(word, "\x00"):
		w.err = fmt.Errorf("%q: %w", word, errNUL)
	case !w.reading:
		w.list = append(w.list, word)
		return word
	case len(w.list) == 0:
		w.err = errMissing
	default:
		word, w.list = w.list[0], w.list[1:]
		return word
	}
	return ""
}

// String visits strings, which may have any byte but NUL.
func (w *Words) String(values ...*string) {
	for _, v := range values {
		if word := w.word(*v); w.reading {
			*v = word
		}
	}
}

// Strings visits a list of strings.
func (w *Words) Strings(v *[]string) { List(w, v, func(w *Words, s *string) { w.String(s) }) }

// Bool visits truth values.
func (w *Words) Bool(values ...*bool) {
	for _, v := range values {
		n := 0
		if *v {
			n = 1
		}
		Number(w, &n)
		if w.reading {
			*v = n == 1
		}
		if n&^1 != 0 && w.err == nil {
			w.err = fmt.Errorf("%d is neither 0 nor 1", n)
		}
	}
}

// Bytes visits bytes of any value, as hexadecimal digits; an empty list is nil.
func (w *Words) Bytes(values ...*[]byte) {
	for _, v := range values {
		word := w.word(hex.EncodeToString(*v))
		if !w.reading || w.err != nil {
			continue
		}
		b, err := hex.DecodeString(word)
		if err == nil && hex.EncodeToString(b) != word {
			err = fmt.Errorf("%q: capital digits", word)
		}
		if *v, w.err = b, err; len(b) == 0 {
			*v = nil
		}
	}
}

// Number visits whole numbers.
func Number[T ~int | ~uint32 | ~uint64](w *Words, values ...*T) {
	for _, v := range values {
		word := w.word(strconv.FormatInt(int64(*v), 10))
		if !w.reading || w.err != nil {
			continue
		}
		n, err := strconv.ParseInt(word, 10, 64)
		if err == nil && (int64(T(n)) != n || strconv.FormatInt(n, 10) != word) {
			err = fmt.Errorf("%q is no number of this kind", word)
		}
		*v, w.err = T(n), err
	}
}

// List visits a list, its length first; an empty one is nil. Each element has at least one word.
func List[T any](w *Words, v *[]T, visit func(*Words, *T)) {
	n := len(*v)
	Number(w, &n)
	if !w.reading {
		for i := range *v {
			visit(w, &(*v)[i])
		}
		return
	}
	if *v = nil; w.err == nil && (n < 0 || n > len(w.list)) {
		w.err = errMissing
	}
	for range n {
		if w.err != nil {
			return
		}
		var element T
		visit(w, &element)
		*v = append(*v, element)
	}
}

// Optional visits a value that may be nil.
func Optional[T any](w *Words, v **T, visit func(*Words, *T)) {
	there := *v != nil
	w.Bool(&there)
	switch {
	case !there:
		*v = nil
		return
	case w.reading:
		*v = new(T)
	}
	visit(w, *v)
}
