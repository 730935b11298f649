package main

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// facts are the contents of the TSV files, checked.
type facts struct {
	releases []release
	calls    []call
	gated    []gate
	vendors  []vendor
	distros  [][]string
}

type release struct{ name, date string }

type call struct {
	abi               string
	nr                uint32
	name, first, last string
	source            string
}

type gate struct {
	abi              string
	nr               uint32
	name, wired, why string
}

type vendor struct {
	profile, prefix, base, call, abi, evidence string
}

// table reads a TSV file and checks its header and the number of columns of each row.
func table(fsys fs.FS, name, header string) ([][]string, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	return parseTable(name, string(text), header)
}

func parseTable(name, text, header string) ([][]string, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if got := strings.ReplaceAll(lines[0], "\t", " "); got != header {
		return nil, fmt.Errorf("%s: the columns are %q, not %q", name, got, header)
	}
	columns := strings.Count(header, " ") + 1
	var rows [][]string
	for n, line := range lines[1:] {
		row := strings.Split(line, "\t")
		if len(row) != columns {
			return nil, fmt.Errorf("%s, line %d: %d columns, not %d", name, n+2, len(row), columns)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func read(fsys fs.FS) (*facts, error) {
	f := new(facts)
	for _, part := range []struct {
		file, header string
		take         func([][]string) error
	}{
		{"releases.tsv", "release date", f.takeReleases},
		{"calls.tsv", "abi nr name first last source", f.takeCalls},
		{"gated.tsv", "abi nr name wired works why", f.takeGated},
		{"vendors.tsv", "profile release_prefix base extra_syscall abi evidence", f.takeVendors},
		{"distros.tsv", "distro version date kernel build libc libc_version evidence", f.takeDistros},
	} {
		rows, err := table(fsys, part.file, part.header)
		if err == nil {
			err = part.take(rows)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.file, err)
		}
	}
	return f, nil
}

func (f *facts) takeReleases(rows [][]string) error {
	for _, r := range rows {
		f.releases = append(f.releases, release{r[0], r[1]})
	}
	return nil
}

func (f *facts) takeCalls(rows [][]string) error {
	for _, r := range rows {
		nr, err := strconv.ParseUint(r[1], 10, 32)
		if err != nil {
			return err
		}
		c := call{r[0], uint32(nr), r[2], r[3], r[4], r[5]}
		if c.source == "" {
			return fmt.Errorf("%s %s has no source", c.abi, c.name)
		}
		if err := f.known(c.first); err != nil {
			return fmt.Errorf("%s %s: %w", c.abi, c.name, err)
		}
		if c.last != "" && f.index(c.last) < 0 {
			return fmt.Errorf("%s %s: no release %q", c.abi, c.name, c.last)
		}
		f.calls = append(f.calls, c)
	}
	slices.SortStableFunc(f.calls, func(a, b call) int {
		if c := strings.Compare(a.abi, b.abi); c != 0 {
			return c
		}
		return int(a.nr) - int(b.nr)
	})
	return nil
}

func (f *facts) takeGated(rows [][]string) error {
	for _, r := range rows {
		nr, err := strconv.ParseUint(r[1], 10, 32)
		if err != nil {
			return err
		}
		if r[5] == "" || !f.has(r[0], r[2]) {
			return fmt.Errorf("%s %s: no reason, or no such call", r[0], r[2])
		}
		wired := r[3]
		if wired == "0" {
			wired = f.releases[0].name
		}
		f.gated = append(f.gated, gate{r[0], uint32(nr), r[2], wired, r[5]})
	}
	slices.SortFunc(f.gated, func(a, b gate) int {
		if c := strings.Compare(a.abi, b.abi); c != 0 {
			return c
		}
		return int(a.nr) - int(b.nr)
	})
	return nil
}

func (f *facts) takeVendors(rows [][]string) error {
	for _, r := range rows {
		v := vendor{r[0], r[1], r[2], r[3], r[4], r[5]}
		switch {
		case v.evidence == "":
			return fmt.Errorf("%s %s has no source", v.profile, v.call)
		case !f.has(v.abi, strings.TrimPrefix(v.call, "-")):
			return fmt.Errorf("%s: %s has no call %s", v.profile, v.abi, v.call)
		case f.index(v.base) < 0 || build(v.prefix) == 0:
			return fmt.Errorf("%s: no release %q, or no build number in %q", v.profile, v.base, v.prefix)
		}
		f.vendors = append(f.vendors, v)
	}
	return nil
}

func (f *facts) takeDistros(rows [][]string) error {
	for _, r := range rows {
		if f.index(r[3]) < 0 || r[7] == "" {
			return fmt.Errorf("%s %s: no release %q, or no source", r[0], r[1], r[3])
		}
		f.distros = append(f.distros, r)
	}
	return nil
}

func (f *facts) has(abi, name string) bool {
	return slices.ContainsFunc(f.calls, func(c call) bool { return c.abi == abi && c.name == name })
}

func (f *facts) index(name string) int {
	return slices.IndexFunc(f.releases, func(r release) bool { return r.name == name })
}

// known checks a name of a release, or a word that stands in its place.
func (f *facts) known(name string) error {
	if name != "never" && name != "0" && f.index(name) < 0 {
		return fmt.Errorf("no release %q", name)
	}
	return nil
}
