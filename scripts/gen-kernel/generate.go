package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// never and still are what emu/kernel has in a release's place: no release has the call, and none
// was the last to have it.
const (
	never = 255
	still = 254
)

// generate gives the tables as text, which emu/kernel reads.
func generate(fsys fs.FS) ([]byte, error) {
	f, err := read(fsys)
	if err != nil {
		return nil, err
	}
	g := &generator{facts: f}
	for _, c := range f.calls {
		g.names = append(g.names, c.name)
		g.sources = append(g.sources, c.source)
		g.abis = append(g.abis, c.abi)
	}
	for _, list := range []*[]string{&g.names, &g.sources, &g.abis} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	g.words()
	for _, abi := range g.abis {
		g.table(abi)
	}
	g.gates()
	g.vendorProfiles()
	for _, d := range g.distros {
		g.line("distro", d[0], d[1], d[2], g.index(d[3]), d[4], d[5], d[6], d[7])
	}
	return g.text.Bytes(), nil
}

// pack compresses the tables as well as gzip can.
func pack(text []byte) []byte {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is one
	_, _ = w.Write(text)                                       // a Buffer takes everything
	_ = w.Close()
	return packed.Bytes()
}

type generator struct {
	*facts
	names, sources, abis []string // sorted
	text                 bytes.Buffer
}

// line writes the fields of one line.
func (g *generator) line(kind string, fields ...any) {
	g.text.WriteString(kind)
	for _, field := range fields {
		fmt.Fprintf(&g.text, "\t%v", field)
	}
	g.text.WriteByte('\n')
}

func (g *generator) name(s string) int   { i, _ := slices.BinarySearch(g.names, s); return i }
func (g *generator) source(s string) int { i, _ := slices.BinarySearch(g.sources, s); return i }

// words writes the lists that the other tables point into.
func (g *generator) words() {
	for _, r := range g.releases {
		g.line("release", r.name, r.date)
	}
	for _, s := range g.sources {
		g.line("source", s)
	}
	for _, s := range g.names {
		g.line("name", s)
	}
}

func (g *generator) table(abi string) {
	calls := slices.DeleteFunc(slices.Clone(g.calls), func(c call) bool { return c.abi != abi })
	g.line("abi", abi, len(calls))
	before := uint32(0)
	for _, c := range calls {
		last := still
		if c.last != "" {
			last = g.index(c.last)
		}
		g.line("call", c.nr-before, g.name(c.name), g.first(c.first), last, g.source(c.source))
		before = c.nr
	}
}

// first is the release that first has a call: the oldest for what is older than the tables.
func (g *generator) first(name string) int {
	switch name {
	case "never":
		return never
	case "0":
		return 0
	}
	return g.index(name)
}

func (g *generator) gates() {
	for _, w := range g.gated {
		g.line("gate", w.abi, w.nr, g.name(w.name), g.index(w.wired), w.why)
	}
}

// vendorProfiles writes one row for each (profile, ABI), in the order of the facts file.
func (g *generator) vendorProfiles() {
	type key struct{ profile, abi string }
	var order []key
	rows := map[key][]vendor{}
	for _, v := range g.vendors {
		k := key{v.profile, v.abi}
		if rows[k] == nil {
			order = append(order, k)
		}
		rows[k] = append(rows[k], v)
	}
	slices.SortStableFunc(order, func(a, b key) int {
		x, y := rows[a][0], rows[b][0]
		if c := g.index(x.base) - g.index(y.base); c != 0 {
			return c
		}
		return build(x.prefix) - build(y.prefix)
	})
	for _, k := range order {
		g.profile(k.profile, k.abi, rows[k])
	}
}

func (g *generator) profile(name, abi string, rows []vendor) {
	var adds, drops []int
	var evidence []string
	for _, v := range rows {
		if dropped, ok := strings.CutPrefix(v.call, "-"); ok {
			drops = append(drops, g.name(dropped))
		} else {
			adds = append(adds, g.name(v.call))
		}
		if !slices.Contains(evidence, v.evidence) {
			evidence = append(evidence, v.evidence)
		}
	}
	g.line("profile", name, abi, g.index(rows[0].base), build(rows[0].prefix), indexes(adds), indexes(drops), strings.Join(evidence, "; "))
}

// indexes are sorted numbers between spaces.
func indexes(list []int) string {
	slices.Sort(list)
	return strings.Trim(fmt.Sprint(list), "[]")
}

// build is the number after the dash of a release prefix such as 3.10.0-1160; 0 if there is none.
func build(prefix string) int {
	_, digits, _ := strings.Cut(prefix, "-")
	n, _ := strconv.Atoi(digits)
	return n
}
