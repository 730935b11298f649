package arch

import (
	"fmt"
	"slices"
	"strings"
)

// Parse finds the ABI that people mean by name: QEMU's (aarch64), Debian's (arm64), GNU's machine
// or triplet (aarch64-linux-gnu), uname's machine (armv7l), an OCI platform (linux/arm64,
// linux/arm/v7) or the prefix of Docker's images (arm32v7). It ignores case. The error for an
// unknown name lists the known ones, nearest first.
func Parse(name string) (*ABI, error) {
	want := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), "linux/")
	if want != "" {
		// There are two passes, since our own names take precedence over another row's further
		// names ("arm" is also QEMU's word for armel).
		for i := range table {
			if a := &table[i]; want == a.Name || want == a.Debian {
				return a, nil
			}
		}
		for i := range table {
			if slices.Contains(table[i].Names(), want) {
				return &table[i], nil
			}
		}
	}
	return nil, fmt.Errorf("unknown architecture %q; known, nearest first: %s", name, strings.Join(nearest(want), " "))
}

// ParseList is Parse for names separated by commas; an ABI that is named twice comes once.
func ParseList(names string) ([]*ABI, error) {
	var abis []*ABI
	for name := range strings.SplitSeq(names, ",") {
		a, err := Parse(name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(abis, a) {
			abis = append(abis, a)
		}
	}
	return abis, nil
}

// Names lists every name that Parse takes for the ABI, in lower case, its own first.
func (a *ABI) Names() []string {
	names := []string{a.Name}
	add := func(more ...string) {
		for _, n := range more {
			if n != "" && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	add(a.Debian, a.GNU)
	add(a.Platforms...)
	add(a.Also...)
	if a.GNU != "" {
		machine, rest, _ := strings.Cut(a.GNU, "-")
		add(machine + "-unknown-" + rest)
	}
	return names
}

// nearest lists one name of each row (Debian's, or else ours) by edit distance of its closest
// name.
func nearest(want string) []string {
	type row struct {
		name     string
		distance int
	}
	var rows []*row
	for i := range table {
		a := &table[i]
		r := &row{name: a.Name, distance: 1 << 30}
		for _, n := range a.Names() {
			if d := Distance(want, n); d < r.distance {
				r = &row{n, d}
			}
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b *row) int { return a.distance - b.distance })
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	return names
}

// Distance is the Levenshtein distance of two names, by bytes.
func Distance(a, b string) int {
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		diagonal := prev[0]
		prev[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(prev[j]+1, prev[j+1]+1, diagonal+cost)
			diagonal, prev[j+1] = prev[j+1], next
		}
	}
	return prev[len(b)]
}
