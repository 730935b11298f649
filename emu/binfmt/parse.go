package binfmt

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Parse reads the file of an entry, as the kernel lists it. It skips lines and flags that we do
// not know, since each release may add some.
func Parse(name, text string) (Entry, error) {
	e := Entry{Name: name}
	first, rest, _ := strings.Cut(text, "\n")
	switch first {
	case "enabled":
	case "disabled":
		e.Disabled = true
	default:
		return Entry{}, fmt.Errorf("%s: %w: it starts with %.40q", name, ErrNotEntry, first)
	}
	for line := range strings.Lines(rest) {
		if err := e.set(strings.TrimSuffix(line, "\n")); err != nil {
			return Entry{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(e.Mask) > 0 && len(e.Mask) != len(e.Magic) {
		return Entry{}, fmt.Errorf("%s: %d bytes of mask for %d of magic", name, len(e.Mask), len(e.Magic))
	}
	return e, nil
}

func (e *Entry) set(line string) (err error) {
	key, value, _ := strings.Cut(line, " ")
	switch key {
	case "interpreter":
		e.Interpreter = value
	case "flags:":
		e.Flags = strings.TrimSpace(value)
	case "extension":
		e.Extension = strings.TrimPrefix(value, ".")
	case "offset":
		if e.Offset, err = strconv.Atoi(value); err != nil || e.Offset < 0 {
			return fmt.Errorf("offset %.40q", value)
		}
	case "magic":
		e.Magic, err = unhex(key, value)
	case "mask":
		e.Mask, err = unhex(key, value)
	}
	return err
}

func unhex(key, value string) ([]byte, error) {
	if len(value) > 2*maxHead {
		return nil, fmt.Errorf("%s of %d digits", key, len(value))
	}
	b, err := hex.DecodeString(value)
	if err != nil {
		return nil, fmt.Errorf("%s %.40q: %w", key, value, err)
	}
	return b, nil
}
