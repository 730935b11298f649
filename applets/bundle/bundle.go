// Package bundle is the applet that makes the directory which a Dockerfile ADDs.
package bundle

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/bundle"
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
	Usage: `--arch ARCH[,ARCH...] [--release R] [--emulator [ARCH=]FILE] [--twins] [-o DIR]

Makes DIR (default: bundle) with binproxy itself, an emulator for each ARCH, the links sh and uname, and
binproxy.conf. A Dockerfile then says: ADD bundle /binproxy

  --arch ARCH          guest architectures: linux/arm64, arm/v7, armhf, aarch64, riscv64-linux-gnu ...
  --emulator FILE      take this emulator (ARCH=FILE where several are made) instead of searching for
                       qemu-ARCH-static and qemu-ARCH next to binproxy and in PATH
  --release R          the kernel release that programs are told
  --sysname S, --nodename N, --kernel-version V, --machine M
                       the other fields of the uname identity
  --proc HOW           how /proc/version and its like tell it (see binproxy help run)
  --twins              pack the host's programs that may stand in for the guest's (see binproxy help twin), too
  --twin-set SET[,SET...]
                       only these sets or programs of them
  -o DIR               where to; an earlier bundle there is replaced

A dynamically linked emulator is brought along with its loader and libraries.
`,
	Run: run,
}

func run(args []string) error {
	var id identity.Identity
	var emulators applet.List
	flags := applet.NewFlags("bundle")
	archs := flags.Names("arch")
	out := flags.String("o", "bundle", "")
	flags.Var(&emulators, "emulator", "")
	flags.Identity(&id)
	proc := flags.String("proc", "", "")
	twins := flags.Bool("twins", false, "")
	twinSet := flags.Names("twin-set")
	operands, err := flags.Parse(args)
	if err != nil {
		return err
	}
	if *archs == "" {
		return exit.Errorf(exit.Failed, "bundle: --arch is missing, as in --arch arm64; see binproxy help bundle")
	}
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "bundle: %q is one word too many; the directory is named with -o", operands[0])
	}
	o := bundle.Options{Identity: id}
	if *proc != "" {
		if o.Proc, err = identity.ParseProc(*proc); err != nil {
			return err
		}
	}
	if o.ABIs, err = arch.ParseList(*archs); err != nil {
		return err
	}
	if *twins || *twinSet != "" {
		o.Twins = &pack.Options{ABIs: o.ABIs}
		if *twinSet != "" {
			o.Twins.Names = strings.Split(*twinSet, ",")
		}
	}
	if o.Emulators, err = applet.Emulators(emulators, o.ABIs); err != nil {
		return err
	}
	if o.Self, err = os.Executable(); err != nil {
		return err
	}
	warnOfRelease(id.Release, o.ABIs)
	libraries, err := preload.Tree(preload.Libraries(), arch.Host(), o.ABIs)
	if err != nil {
		return err
	}
	for _, f := range libraries {
		o.Extra = append(o.Extra, bundle.Extra(f))
	}
	files, err := bundle.Make(*out, o)
	if err != nil {
		return err
	}
	list(*out, files)
	return nil
}

// warnOfRelease says on standard error which calls a spoofed release promises that the running
// kernel lacks.
func warnOfRelease(release string, abis []*arch.ABI) {
	var u unix.Utsname
	if release == "" || unix.Uname(&u) != nil {
		return
	}
	var tables []*kernel.ABI
	for _, a := range abis {
		tables = append(tables, kernel.Of(a))
	}
	if line := kernel.SpoofWarning(release, unix.ByteSliceToString(u.Release[:]), tables...); line != "" {
		fmt.Fprintln(os.Stderr, "binproxy: bundle:", line)
	}
}

func list(dir string, files []bundle.File) {
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
	fmt.Printf("%9s  %s\n", applet.Size(total), dir)
}
