// Package dockerfile is the applet that rewrites a Dockerfile, by a program of its own: BuildKit's
// parser is as large as all of binproxy (frontend/cmd/binproxy-dockerfile).
package dockerfile

import (
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "dockerfile",
	Synopsis: "rewrite a Dockerfile for a builder that takes no plug",
	Text: `
Prints FILE (default: Dockerfile; - is standard input), rewritten so that its foreign stages bring
binproxy along: ADD of the bundle and install before their first RUN, clean at their end.

  binproxy bundle --arch arm64
  binproxy dockerfile --platform linux/arm64 >Dockerfile.arm64

This is done by the program binproxy-dockerfile, beside binproxy or in PATH, which 'make dockerfile'
builds; its flags come before FILE. docs/builders.md says what becomes of each instruction.
`,
	Commands: []applet.Command{{Args: "--platform P [FLAG...] [FILE]", Raw: true, Flags: flags}},
}

// flags are those of the other program, for the help.
func flags(f applet.Flags) applet.Run {
	f.String("platform", "", "`P` the image's platform, as linux/arm64 (default: DOCKER_DEFAULT_PLATFORM)")
	f.String("build-platform", "", "`P` the platform of the machine that builds (default: this machine's)")
	f.Bool("one-platform", false, "the builder gives every stage the image's platform, whatever FROM --platform says: kaniko does")
	f.String("build-arg", "", "`NAME=VALUE` a build argument that the builder gets too, for FROM and USER lines")
	f.String("bundle", "bundle", "`DIR` the bundle's directory in the build's context")
	f.String("bundle-image", "", "`NAME` an image that has only the bundle, in place of a directory in the context")
	return run
}

// program is called with all arguments. It is looked for beside this program, then in PATH.
const program = "binproxy-dockerfile"

func run(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(filepath.Dir(self) + "/" + program)
	if err != nil {
		path, err = exec.LookPath(program)
	}
	// A link to binproxy itself under that name stands for this applet.
	if end, _ := filepath.EvalSymlinks(path); err != nil || end == self {
		return exit.Errorf(exit.Failed, "dockerfile: needs %s beside binproxy or in PATH: `make dockerfile` in binproxy's source builds it", program)
	}
	return exit.Errorf(exit.CannotRun, "dockerfile: %s: %w", path, unix.Exec(path, append([]string{program}, args...), os.Environ()))
}
