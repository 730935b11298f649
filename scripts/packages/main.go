// Command packages installs the missing Debian packages of a list, as root, with apt-get.
//
//	go run ./scripts/packages [--required] LIST
//
// A line of LIST is a package and its purpose; # starts a comment. It reads apt's lists again
// first, since they may be months old; that also shows whether there is a network. A package that
// cannot be had does not stop the others. It is named with the reason, which the tests that need
// it give when they skip (package test/lib/need); with --required it is an error. An ordinary user
// gets the one line to run.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"binproxy/test/lib/need"
)

func main() {
	required, args := false, os.Args[1:]
	if len(args) > 0 && args[0] == "--required" {
		required, args = true, args[1:]
	}
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/packages [--required] LIST")
		os.Exit(2)
	}
	if err := run(usual(os.Stderr), required, args[0]); err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

// run brings the packages of a list. If required ones are missing, the error names them, with the
// reasons and the remedy.
func run(m machine, required bool, list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	missing, err := absent(names(string(text)))
	if err != nil {
		return err
	}
	lacking := map[string]string{}
	if len(missing) > 0 {
		lacking = m.bring(missing)
	}
	if required && len(lacking) > 0 {
		return fmt.Errorf("what is needed here is not installed: %s. %s", why(lacking), remedy(lacking))
	}
	if len(lacking) > 0 {
		fmt.Fprintf(m.log, "packages: the tests that need what is not installed skip: %s. %s\n", why(lacking), remedy(lacking))
	}
	if required {
		return nil
	}
	return need.NoteLacking(lacking)
}

// names lists the packages in a list's text.
func names(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
			names = append(names, f[0])
		}
	}
	return names
}

// absent lists the packages that dpkg has not installed: all of them if there is no dpkg.
func absent(packages []string) ([]string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("dpkg-query", append([]string{"-W", "-f", "${Package} ${db:Status-Status}\n"}, packages...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var status *exec.ExitError
	// It ends with 1 if it does not know one of them, and says so for each.
	if err != nil && !errors.Is(err, exec.ErrNotFound) && !(errors.As(err, &status) && status.ExitCode() == 1) {
		return nil, fmt.Errorf("dpkg-query: %w: %s", err, stderr.String())
	}
	installed := strings.Split(string(out), "\n")
	return slices.DeleteFunc(slices.Clone(packages), func(name string) bool { return slices.Contains(installed, name+" installed") }), nil
}

// why gives in one line why packages are missing, and which, if not all have the same reason.
func why(lacking map[string]string) string {
	by := map[string][]string{}
	for name, reason := range lacking {
		by[reason] = append(by[reason], name)
	}
	var groups []string
	for reason, names := range by {
		if len(by) == 1 {
			return reason
		}
		slices.Sort(names)
		groups = append(groups, strings.Join(names, " ")+" ("+reason+")")
	}
	slices.Sort(groups)
	return strings.Join(groups, "; ")
}

// remedy is the line to run.
func remedy(lacking map[string]string) string {
	names := strings.Join(slices.Sorted(maps.Keys(lacking)), " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "Install what this machine has in the place of Debian's " + names
	}
	return "To install it: sudo sh -c 'apt-get update; apt-get install -y --no-install-recommends " + names + "'"
}
