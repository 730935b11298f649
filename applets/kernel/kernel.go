// Package kernel shows what a kernel release has, what the running kernel answers, and what a
// program needs of either. Each sub-command is a file: flags in, one call into emu/kernel, a table
// or JSON out.
package kernel

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/exit"
	facts "binproxy/emu/kernel"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "kernel",
	Synopsis: "show what a kernel release has, and what a program needs of it",
	Text: `
A RELEASE is written as people write it: 3.10, 3.10.0-1160.71.1.el7.x86_64, el7, rhel8.4,
ubuntu-22.04, debian-12, or host for the running kernel. What a vendor carried back to an older
kernel counts.
`,
	Commands: []applet.Command{
		{Name: "table", Args: "[FLAG...]\n--diff RELEASE RELEASE [--abi ABI] [--json]", Flags: tableFlags, Text: "show which release has which system call"},
		{Name: "probe", Args: "[--json]", Flags: probeFlags,
			Text: "show what the running kernel answers, call by call, and where that differs from what its release promises"},
		{Name: "run", Args: "--as RELEASE [--force] [--] COMMAND [ARGUMENT...]", Leads: true, Flags: runFlags,
			Text: "run COMMAND as under an older kernel: each call that RELEASE lacks answers ENOSYS"},
		{Name: "record", Args: "[--once] [--json] [--output FILE] [--] COMMAND [ARGUMENT...]", Leads: true, Flags: recordFlags,
			Text: "run COMMAND and report which calls it used, and the oldest kernel that has them; run it again to find out which of them it needs"},
		{Name: "check", Args: "[--kernel RELEASE] [--libc NAME-VERSION] [--json|--sarif] PATH...", Flags: checkFlags,
			Text: "check, without running anything, whether a program, a root directory, an OCI layout or a docker save archive fits a kernel: exit status 0 if it does, 1 if it does not, 2 if that is unknown"},
	},
}

// failed gives an error the status of a failure of binproxy itself.
func failed(err error) error { return exit.With(exit.Failed, err) }

// release parses what the user wrote for a release; "host" is the running kernel.
func release(text string) (facts.Release, error) {
	if text == "host" {
		u, err := uname()
		if err != nil {
			return facts.Release{}, failed(err)
		}
		text = unix.ByteSliceToString(u.Release[:])
	}
	r, err := facts.Parse(text)
	return r, failed(err)
}

func uname() (u unix.Utsname, err error) {
	if err = unix.Uname(&u); err != nil {
		err = fmt.Errorf("uname: %w", err)
	}
	return u, err
}

// hostTable is the table of the ABI that this binary was built for.
func hostTable() (*facts.ABI, error) {
	if a := facts.Of(arch.Host()); a != nil {
		return a, nil
	}
	return nil, exit.Errorf(exit.Failed, "the tables do not cover %s; --abi takes: %s", runtime.GOARCH, strings.Join(abiNames(), " "))
}

func abiNames() []string {
	var names []string
	for _, a := range facts.ABIs() {
		names = append(names, a.Name)
	}
	return names
}

// findABI finds a table by its own name or by one that emu/arch knows; "" is the host's.
func findABI(name string) (*facts.ABI, error) {
	if name == "" {
		return hostTable()
	}
	if a := facts.Get(name); a != nil {
		return a, nil
	}
	if row, err := arch.Parse(name); err == nil && facts.Of(row) != nil {
		return facts.Of(row), nil
	}
	return nil, exit.Errorf(exit.Failed, "--abi %s: the tables cover %s", name, strings.Join(abiNames(), " "))
}

// columns starts a table whose cells are separated by tabs.
func columns(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// row prints one line of cells.
func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, c)
	}
	fmt.Fprintln(w)
}
