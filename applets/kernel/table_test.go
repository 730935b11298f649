package kernel

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/applets/applet"
)

// table is `kernel table` with the arguments.
func table(w io.Writer, args ...string) error {
	var l lookingUp
	flags := applet.NewFlags("kernel table")
	l.declare(flags)
	operands, err := flags.Parse(args)
	if err != nil {
		return err
	}
	return l.table(w, operands)
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, table(&b, args...))
	return b.String()
}

// golden compares with a file of testdata; UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o666))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if string(want) != got {
		t.Errorf("%s differs; UPDATE=1 go test ./applets/kernel writes it", path)
	}
}

func TestTableGolden(t *testing.T) {
	for _, abi := range []string{"x86_64", "i386", "aarch64", "arm", "riscv64"} {
		golden(t, "table-"+abi+".golden", output(t, "--abi", abi))
	}
	for name, args := range map[string]string{
		"diff-3.10-5.14":         "--abi x86_64 --diff 3.10 5.14",
		"diff-el7-3.10":          "--abi x86_64 --diff 3.10 el7",
		"diff-rhel8.4-debian-12": "--abi aarch64 --diff rhel8.4 debian-12",
		"syscall-setns":          "--syscall setns",
		"syscall-mbind":          "--syscall mbind --abi aarch64",
		"since-6.10":             "--abi riscv64 --since 6.10 --until 6.17",
		"json-pidfd":             "--abi x86_64 --syscall pidfd_open --json",
		"diff-json":              "--abi i386 --diff 6.1 6.6 --json",
	} {
		golden(t, name+".golden", output(t, strings.Fields(args)...))
	}
}

// The golden tables have every row of the facts; only the form of a row differs.
func TestTableHoldsTheFacts(t *testing.T) {
	facts, err := os.ReadFile("../../scripts/kernel-facts/calls.tsv")
	require.NoError(t, err)
	for _, abi := range []string{"x86_64", "i386", "aarch64", "arm", "riscv64"} {
		var want []string
		for _, line := range strings.Split(strings.TrimSpace(string(facts)), "\n")[1:] {
			f := strings.Split(line, "\t")
			if f[0] != abi {
				continue
			}
			first, last := strings.Replace(f[3], "0", "2.6.32 or before", 1), f[4]
			if f[3] != "0" {
				first = f[3]
			}
			if last == "" {
				last = "-"
			}
			want = append(want, strings.Join([]string{f[0], f[1], f[2], first, last, f[5]}, " "))
		}
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(output(t, "--abi", abi)), "\n")[1:] {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
		require.Equal(t, want, got, abi)
	}
}

func TestTableJSON(t *testing.T) {
	var calls []callJSON
	require.NoError(t, json.Unmarshal([]byte(output(t, "--json", "--abi", "arm64", "--syscall", "mbind")), &calls))
	require.Len(t, calls, 1)
	require.Equal(t, "4.7", calls[0].Since)
	require.Equal(t, "3.7", calls[0].Gate.Wired)
	require.NoError(t, json.Unmarshal([]byte(output(t, "--json", "--syscall", "318", "--abi", "x86_64")), &calls))
	require.Equal(t, "getrandom", calls[0].Name)
}

func TestTableRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--abi hppa":           "the tables cover aarch64",
		"--abi nonsense":       "the tables cover aarch64",
		"--syscall nonsense":   "no table has such a call",
		"--diff 3.10":          "takes two releases",
		"--diff 3.10 3.99":     "no such mainline release",
		"--since x":            "not a version",
		"--until 2.6":          "third number",
		"extra":                "unexpected",
		"--frobnicate":         "flag provided but not defined",
		"--syscall read --abi": "flag needs an argument",
	} {
		require.ErrorContains(t, table(io.Discard, strings.Fields(args)...), want, args)
	}
}
