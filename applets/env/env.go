// Package env prints the line that puts the farm first in a shell's PATH. It is for shells that no
// shim started, such as a login shell in a container that shares its home directory with the host.
package env

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/sys"
	"binproxy/shim/farm"
	"binproxy/shim/proxy"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "env",
	Synopsis: "print the command that puts the farm first in PATH, in containers only",
	Text: `
  eval "$(binproxy env)"                 sh, dash, bash, zsh, busybox
  eval "` + "`binproxy env --shell csh`" + `"       csh, tcsh
  binproxy env --shell fish | source     fish

In a container this puts the farm's counterparts of the directories of PATH before them, or the
directory that "binproxy install --uname-only" made. Outside of containers, and where PATH has it
all already, nothing is printed. A container is known by /.dockerenv, /run/.containerenv, or one of
the variables container, SINGULARITY_NAME and APPTAINER_NAME; where there is none of them
(BuildKit, Kubernetes), set container=oci.
`,
	Commands: []applet.Command{{Args: "[--shell sh|csh|fish]", Flags: flags}},
}

func flags(f applet.Flags) applet.Run {
	shell := f.String("shell", "sh", "`SHELL` the shell to print for: sh (every POSIX shell), csh or fish")
	return func(operands []string) error { return run(operands, *shell) }
}

func run(operands []string, shell string) error {
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "env: unexpected operand %q; to run a program, see binproxy help run", operands[0])
	}
	if _, err := setter(shell, ""); err != nil {
		return exit.Errorf(exit.Failed, "env: %w", err)
	}
	if !identity.InContainer("/", os.Getenv) {
		proxy.Debug("env: this is no container")
		return nil
	}
	call, err := farm.Locate(sys.Execfn(), os.Args[0])
	if err != nil {
		return err
	}
	old := os.Getenv("PATH")
	path, err := Path(call, old)
	if err != nil {
		return exit.Errorf(exit.Failed, "env: %w", err)
	}
	if path == old {
		return nil
	}
	line, err := setter(shell, path)
	if err != nil {
		return exit.Errorf(exit.Failed, "env: %w", err)
	}
	_, err = fmt.Println(line)
	return err
}

// Path is PATH with the farms' counterpart of each directory in front of it, or with the directory
// of a uname in a home directory first. An empty PATH stays empty: what a shell uses then is its
// own choice.
func Path(c farm.Call, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	ours := c.Root.Farms
	if c.Config.OnlyContainer {
		ours = []string{c.Config.Dir}
	}
	for _, dir := range ours {
		if strings.ContainsRune(dir, filepath.ListSeparator) {
			return "", fmt.Errorf("%s: a directory with a colon in its name cannot be in PATH", dir)
		}
	}
	path = without(path, ours)
	switch {
	case !c.Config.OnlyContainer:
		return c.Root.Path(path), nil
	case path == "":
		return c.Config.Dir, nil
	}
	return c.Config.Dir + string(filepath.ListSeparator) + path, nil
}

// without is path without the directories, and those below them.
func without(path string, dirs []string) string {
	var kept []string
next:
	for _, entry := range filepath.SplitList(path) {
		for _, dir := range dirs {
			if entry == dir || strings.HasPrefix(entry, dir+"/") {
				continue next
			}
		}
		kept = append(kept, entry)
	}
	return strings.Join(kept, string(filepath.ListSeparator))
}

// setter gives the command that sets and exports PATH in the shell.
func setter(shell, path string) (string, error) {
	switch shell {
	case "sh":
		return "PATH='" + strings.ReplaceAll(path, "'", `'\''`) + "'; export PATH", nil
	case "csh":
		if strings.Contains(path, "\n") {
			return "", fmt.Errorf("PATH %q: csh cannot take a newline", path)
		}
		return "setenv PATH '" + strings.NewReplacer("'", `'\''`, "!", `\!`).Replace(path) + "'", nil
	case "fish":
		return "set -gx PATH '" + strings.NewReplacer(`\`, `\\`, "'", `\'`, ":", "' '").Replace(path) + "'", nil
	}
	return "", fmt.Errorf("unknown shell %q; known: sh (for every POSIX shell) csh fish", shell)
}
