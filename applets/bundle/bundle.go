// Package bundle is the applet that makes the directory which a Dockerfile ADDs.
package bundle

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/bundle"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/kernel"
	"binproxy/emu/twin/pack"
	"binproxy/shim/preload"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "bundle",
	Synopsis: "make the directory that a Dockerfile ADDs",
	Text: `
Makes DIR with binproxy itself, an emulator for each ARCH, the links sh and uname, and
binproxy.conf. A Dockerfile then says: ADD bundle /binproxy

A dynamically linked emulator comes with its loader and libraries.
`,
	Commands: []applet.Command{{Args: "--arch ARCH[,ARCH...] [--release R] [--emulator [ARCH=]FILE] [--twins] [-o DIR | --single FILE | --buildkit DIR] [FLAG...]", Flags: flags}},
}

// options are the flags' values.
type options struct {
	archs, twinSet *string
	out, proc      string
	single         string
	buildKit       string
	emulators      applet.List
	identity       identity.Identity
	twins, json    bool
}

func flags(f applet.Flags) applet.Run {
	var o options
	o.archs = f.Archs("arch", "`ARCH[,ARCH...]` guest architectures: linux/arm64, arm/v7, armhf, aarch64, riscv64-linux-gnu ... (default: TARGETPLATFORM, else DOCKER_DEFAULT_PLATFORM)")
	f.StringVar(&o.out, "o", "bundle", "`DIR` the directory to make; replaces an earlier bundle there")
	f.StringVar(&o.single, "single", "", "`FILE` make one file instead, with binproxy, the emulators and binproxy.conf: FILE run -- COMMAND works wherever it is copied to. It has no libraries and no twins: its route is supervise")
	f.StringVar(&o.buildKit, "buildkit", "", "`DIR` make a file like that of --single for each ARCH, under the name that BuildKit looks up in the PATH of its daemon: DIR/buildkit-qemu-aarch64 ... (default: each ARCH that has a static emulator here)")
	f.Var(&o.emulators, "emulator", "`[ARCH=]FILE` take this emulator (ARCH=FILE where several are made, unless it is called qemu-ARCH) instead of searching for qemu-ARCH-static and qemu-ARCH next to binproxy and in PATH")
	f.Identity(&o.identity)
	f.StringVar(&o.proc, "proc", "", "`HOW` how /proc/version and similar files show it: see binproxy help run")
	f.BoolVar(&o.twins, "twins", false, "pack the host's programs that may stand in for the guest's, too: see binproxy help twin")
	o.twinSet = f.Names("twin-set", "`SET[,SET...]` only these sets or programs of them")
	f.BoolVar(&o.json, "json", false, applet.JSONUsage)
	return func(operands []string) error { return run(operands, o) }
}

func run(operands []string, asked options) (err error) {
	o := bundle.Options{Identity: asked.identity}
	if *asked.archs != "" || asked.buildKit == "" {
		if o.ABIs, err = applet.Guest(*asked.archs, arch.ParseList); err != nil {
			return exit.Errorf(exit.Failed, "bundle: %w", err)
		}
	}
	if o.ABIs == nil && asked.buildKit == "" {
		return exit.Errorf(exit.Failed, "bundle: --arch is missing, as in --arch arm64; see binproxy help bundle")
	}
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "bundle: %q is one word too many; the directory is named with -o", operands[0])
	}
	if asked.proc != "" {
		if o.Proc, err = identity.ParseProc(asked.proc); err != nil {
			return err
		}
	}
	if asked.twins || *asked.twinSet != "" {
		o.Twins = &pack.Options{ABIs: o.ABIs}
		if *asked.twinSet != "" {
			o.Twins.Names = strings.Split(*asked.twinSet, ",")
		}
	}
	if o.Emulators, err = emulator.Parse(asked.emulators, o.ABIs); err != nil {
		return err
	}
	if o.Self, err = os.Executable(); err != nil {
		return err
	}
	warnOfRelease(asked.identity.Release, o.ABIs)
	switch file := asked.single != "" || asked.buildKit != ""; {
	case asked.single != "" && asked.buildKit != "":
		return exit.Errorf(exit.Failed, "bundle: --single and --buildkit: only one of them")
	case file && o.Twins != nil:
		return exit.Errorf(exit.Failed, "bundle: --twins: a single file has no room for twins, which are many files; make a directory with -o")
	case asked.buildKit != "":
		files, err := bundle.MakeBuildKit(asked.buildKit, o)
		return asked.tell(report{Dir: asked.buildKit}, files, err)
	case asked.single != "":
		files, err := bundle.MakeSingle(asked.single, o)
		return asked.tell(report{File: asked.single}, files, err)
	}
	for _, f := range preload.Tree(preload.Libraries(), arch.Host(), o.ABIs) {
		o.Extra = append(o.Extra, bundle.Extra(f))
	}
	files, err := bundle.Make(asked.out, o)
	return asked.tell(report{Dir: asked.out}, files, err)
}

// warnOfRelease prints on standard error which calls a release promises that the running kernel
// lacks.
func warnOfRelease(release string, abis []*arch.ABI) {
	var u unix.Utsname
	if release == "" || unix.Uname(&u) != nil {
		return
	}
	var tables []*kernel.ABI
	for _, a := range abis {
		tables = append(tables, kernel.Of(a))
	}
	if line := kernel.ReleaseWarning(release, unix.ByteSliceToString(u.Release[:]), tables...); line != "" {
		fmt.Fprintln(os.Stderr, "binproxy: bundle:", line)
	}
}

// report is what --json prints.
type report struct {
	Dir   string `json:"dir,omitempty"`  // a bundle, or one of single files
	File  string `json:"file,omitempty"` // a single file
	Size  int64  `json:"size"`
	Files []file `json:"files"`
}

// file has either Link, its target, or Size and, for a copy, From.
type file struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	From string `json:"from,omitempty"`
	Link string `json:"link,omitempty"`
}

func (r *report) add(files []bundle.File) {
	for _, f := range files {
		r.Size += f.Size
		shown := file{Name: f.Name, Size: f.Size, From: f.From}
		if f.Size == 0 {
			shown.From, shown.Link = "", f.From
		}
		r.Files = append(r.Files, shown)
	}
}

// tell prints what was made, which r lists, unless that failed.
func (o options) tell(r report, files []bundle.File, err error) error {
	if err != nil {
		return err
	}
	if o.json {
		r.add(files)
		return applet.WriteJSON(os.Stdout, r)
	}
	var total int64
	for _, f := range files {
		total += f.Size
		from := ""
		switch {
		case f.Size == 0:
			from = " -> " + f.From
		case f.From != "":
			from = "  from " + f.From
		}
		fmt.Printf("%9s  %s%s\n", applet.Size(f.Size), f.Name, from)
	}
	fmt.Printf("%9s  %s\n", applet.Size(total), cmp.Or(r.Dir, r.File))
	return nil
}
