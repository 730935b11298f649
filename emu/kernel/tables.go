package kernel

import (
	"compress/gzip"
	_ "embed" // the tables
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// packed is scripts/gen-kernel's output: lines of fields between tabs, whose first field is the
// line's subject. `gzip -dc` shows them.
//
//go:embed z_tables.gz
var packed string

// facts are the tables, unpacked.
type facts struct {
	releases []release
	sources  []string
	names    []string // sorted, as abis are
	abis     []ABI
	gates    []gate
	profiles []profile
	distros  []Distro
}

type release struct{ name, date string }

var (
	unpacked sync.Once
	known    *facts
)

// tables unpacks the facts when they are first asked for.
func tables() *facts {
	unpacked.Do(func() {
		var err error
		if known, err = unpack(packed); err != nil {
			panic(err) // a test has read them
		}
	})
	return known
}

func unpack(packed string) (*facts, error) {
	unzipped, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(unzipped)
	if err != nil {
		return nil, err
	}
	f := new(facts)
	for line := range strings.Lines(string(text)) {
		l := fields{left: strings.TrimSuffix(line, "\n")}
		f.take(&l)
		if l.left != "" && l.err == nil {
			l.err = fmt.Errorf("fields left over: %q", l.left)
		}
		if l.err != nil {
			return nil, fmt.Errorf("the tables of kernel releases are damaged at %q: %w", line, l.err)
		}
	}
	return f, nil
}

// take reads one line. A call belongs to the ABI above it; its number is told by how much larger
// it is than the call's before it, which packs better.
func (f *facts) take(l *fields) {
	switch kind := l.text(); kind {
	case "release":
		f.releases = append(f.releases, release{l.text(), l.text()})
	case "source":
		f.sources = append(f.sources, l.text())
	case "name":
		f.names = append(f.names, l.text())
	case "abi":
		f.abis = append(f.abis, ABI{Name: l.text(), rows: make([]row, 0, l.number(16))})
	case "call":
		rows := &f.abis[len(f.abis)-1].rows
		nr := uint32(l.number(32))
		if n := len(*rows); n > 0 {
			nr += (*rows)[n-1].nr
		}
		*rows = append(*rows, row{nr, uint16(l.number(16)), l.version(), l.version(), uint8(l.number(8))})
	case "gate":
		f.gates = append(f.gates, gate{l.text(), uint32(l.number(32)), uint16(l.number(16)), l.version(), l.text()})
	case "profile":
		f.profiles = append(f.profiles, profile{l.text(), l.text(), l.version(), int(l.number(32)), l.numbers(), l.numbers(), l.text()})
	case "distro":
		f.distros = append(f.distros, Distro{l.text(), l.text(), l.text(), l.version(), l.text(), l.text(), l.text(), l.text()})
	default:
		l.err = fmt.Errorf("a line of the kind %q", kind)
	}
}

// fields gives the fields of a line in turn, and keeps what was wrong with one.
type fields struct {
	left string
	err  error
}

func (l *fields) text() string {
	field, left, _ := strings.Cut(l.left, "\t")
	l.left = left
	return field
}

func (l *fields) number(bits int) uint64 { return l.parse(l.text(), bits) }

func (l *fields) parse(text string, bits int) uint64 {
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		l.err = err
	}
	return n
}

func (l *fields) version() Version { return Version(l.number(8)) }

// numbers are indexes of names.
func (l *fields) numbers() []uint16 {
	var list []uint16
	for word := range strings.FieldsSeq(l.text()) {
		list = append(list, uint16(l.parse(word, 16)))
	}
	return list
}
