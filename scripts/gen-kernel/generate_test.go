package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// The tables in the tree are those that the facts give.
func TestTablesAreFresh(t *testing.T) {
	want, err := generate(os.DirFS(filepath.Join(root, factsDir)))
	require.NoError(t, err)
	for _, packed := range [][]byte{pack(want), readFile(t, filepath.Join(root, tableFile))} {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		require.NoError(t, err)
		got, err := io.ReadAll(z)
		require.NoError(t, err)
		if string(got) != string(want) {
			t.Errorf("%s is stale: run go run ./scripts/gen-kernel", tableFile)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// A fact without a source, or any other damage to the facts, stops the generator, which names the
// place.
func TestDamagedFacts(t *testing.T) {
	good := copyFacts(t)
	_, err := generate(good)
	require.NoError(t, err)
	for _, c := range []struct{ file, old, new, want string }{
		{"calls.tsv", "x86_64\t318\tgetrandom\t3.17\t\tsrc+sec457+man", "x86_64\t318\tgetrandom\t3.17\t\t", "x86_64 getrandom has no source"},
		{"calls.tsv", "x86_64\t318\tgetrandom\t3.17", "x86_64\t318\tgetrandom\t3.71", `no release "3.71"`},
		{"calls.tsv", "x86_64\t318\t", "x86_64\t-1\t", "invalid syntax"},
		{"calls.tsv", "abi\tnr", "nr\tabi", "the columns are"},
		{"calls.tsv", "\nx86_64\t318\t", "\nx86_64\t318\t\t", "7 columns, not 6"},
		{"vendors.tsv", "\tgetrandom\tx86_64\ttables in tremb1e/linux-3.10.0-1160.el7 head", "\tgetrandom\tx86_64\t", "getrandom has no source"},
		{"vendors.tsv", "3.10.0-1160\t3.10\tgetrandom", "3.10.0-1160\t3.10\tgetrandoms", "no call getrandoms"},
		{"vendors.tsv", "3.10.0-1160\t3.10\tbpf\tx86_64", "3.10.0\t3.10\tbpf\tx86_64", "no build number"},
		{"distros.tsv", "debian\t12\t2023-06\t6.1\t\tglibc\t2.36\tpackage", "debian\t12\t2023-06\t6.1\t\tglibc\t2.36\t", "debian 12: no release"},
		{"gated.tsv", "aarch64\t104\tkexec_load", "aarch64\t104\tkexec_loads", "kexec_loads"},
	} {
		facts := maps.Clone(good)
		text := string(facts[c.file].Data)
		require.True(t, strings.Contains(text, c.old), c.old)
		facts[c.file] = &fstest.MapFile{Data: []byte(strings.Replace(text, c.old, c.new, 1))}
		_, err := generate(facts)
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, c.file)
	}
}

func copyFacts(t *testing.T) fstest.MapFS {
	t.Helper()
	facts := fstest.MapFS{}
	dir := os.DirFS(filepath.Join(root, factsDir))
	names, err := fs.Glob(dir, "*.tsv")
	require.NoError(t, err)
	for _, name := range names {
		text, err := fs.ReadFile(dir, name)
		require.NoError(t, err)
		facts[name] = &fstest.MapFile{Data: text}
	}
	return facts
}

func FuzzTable(f *testing.F) {
	f.Add("a b", "a\tb\n1\t2\n")
	f.Add("a", "")
	f.Fuzz(func(t *testing.T, header, text string) {
		rows, err := parseTable("fuzz.tsv", text, header)
		for _, r := range rows {
			if err == nil && len(r) != strings.Count(header, " ")+1 {
				t.Errorf("%q: row %q", text, r)
			}
		}
	})
}
