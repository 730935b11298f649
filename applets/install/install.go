// Package install is the applet that routes the commands of an image to binproxy, by shim/farm.
package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"binproxy/applets/applet"
	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/shim/farm"
	"binproxy/shim/sh"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "install",
	Synopsis: "route the image's commands to binproxy",
	Text: `
Makes the farm: a tree with a link for each guest program, and each #! script with a guest
interpreter, in the directories of PATH; and puts links in place of /bin/sh and the other shells of
/etc/shells, which route what they run. For a named PATH (a file, or the entries of a directory, but not those of directories in
it) links also replace the commands themselves, so that calls by absolute path are routed. A second
run adds what is new. binproxy status shows what is routed, binproxy clean removes it all.
`,
	Commands: []applet.Command{{Args: "[--farm DIR] [--no-sh] [--record-release] [PATH...]\n--uname-only [--farm DIR] [--release R]", Flags: flags}},
}

// options are the flags' values.
type options struct {
	farm, release              string
	noShell, record, unameOnly bool
}

func flags(f applet.Flags) applet.Run {
	var o options
	f.StringVar(&o.farm, "farm", "", "`DIR` make the farm at DIR, instead of BUNDLE/farm; the directory that holds it must be there")
	f.BoolVar(&o.noShell, "no-sh", false, "leave /bin/sh and the other shells alone")
	f.BoolVar(&o.record, "record-release", false, "keep the running kernel's release and version in the configuration, if no release is set, for uname to print")
	f.BoolVar(&o.unameOnly, "uname-only", false, "make only a uname with an identity of its own, in ~/.local/fakeuname or DIR, for a home directory that containers share with their host: see docs/uname.md")
	f.StringVar(&o.release, "release", "", "`R` with --uname-only: the release that it prints, instead of the running kernel's")
	return func(paths []string) error { return run(paths, o) }
}

func run(paths []string, o options) error {
	switch {
	case slices.Contains(paths, ""):
		return exit.Errorf(exit.Failed, "install: an empty PATH names nothing; see binproxy help install")
	case o.unameOnly && (len(paths) > 0 || o.noShell || o.record):
		return exit.Errorf(exit.Failed, "install: --uname-only takes --farm and --release, and nothing else")
	case o.unameOnly:
		return UnameOnly(o.farm, o.release)
	case o.release != "":
		return exit.Errorf(exit.Failed, "install: --release goes with --uname-only; for an image it is told to binproxy bundle")
	}
	syscall.Umask(0o022) // all users of the image need what is made here
	cfg, err := farm.Bundle(os.Args)
	if err == nil {
		err = farm.NeedBundle(cfg)
	}
	if err != nil {
		return exit.Errorf(exit.Failed, "install: %w", err)
	}
	if o.record {
		if cfg, err = recordRelease(cfg); err != nil {
			return exit.Errorf(exit.Failed, "install: %w", err)
		}
	}
	return makeFarm(cfg, o.farm, o.noShell, paths)
}

func makeFarm(cfg config.Config, dir string, noShell bool, paths []string) error {
	opts := farm.Options{Paths: paths, Path: os.Getenv("PATH")}
	if !noShell {
		opts.Shell, opts.Shells = "/bin/sh", shells()
	}
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return exit.Errorf(exit.Failed, "install: --farm %s: %w", dir, err)
		}
		opts.Farm = abs
	}
	done, err := farm.Install(cfg, opts)
	if err != nil {
		return exit.Errorf(exit.Failed, "install: %w", err)
	}
	for _, remark := range done.Remarks {
		fmt.Println("binproxy install:", remark)
	}
	fmt.Printf("binproxy install: farm %s: %d links (%d new, %d dropped), %d in place (%d new)\n",
		farm.Display(done.Farm), done.Links, done.Added, done.Dropped, done.Places, done.Placed)
	return nil
}

// shells are the image's shells, as shells(5) lists them.
func shells() []string {
	text, err := os.ReadFile("/etc/shells")
	if err != nil {
		return sh.Shells
	}
	return slices.DeleteFunc(strings.Fields(string(text)), func(word string) bool { return !filepath.IsAbs(word) })
}

// recordRelease records this machine's kernel release, unless one is configured already.
func recordRelease(cfg config.Config) (config.Config, error) {
	if cfg.Identity.Release != "" {
		return cfg, nil
	}
	kernel, err := identity.Kernel()
	if err != nil {
		return cfg, err
	}
	recorded := kernel.Recorded()
	if recorded.Release == "" {
		return cfg, errors.New("the kernel tells no release")
	}
	cfg.Identity.Release, cfg.Identity.Version = recorded.Release, recorded.Version
	return cfg, cfg.Save()
}
