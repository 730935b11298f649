// Package container is the applet for architecture emulation containers.
package container

import (
	"fmt"
	"os"
	"text/tabwriter"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/kernel"
	"binproxy/emu/container"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "container",
	Synopsis: "live in a root of another architecture, home directory in place",
	Usage: `create --arch ARCH --location DIR [--name N] [--bind SRC[:DST]]... [--no-home] [--release R]
       binproxy container enter N [--user U] [--release R] [-- COMMAND [ARGUMENT...]]
       binproxy container list
       binproxy container remove N

A container is a mount namespace: DIR is its root, and the host's /proc, /sys, /dev, /home, /var/tmp and
/etc/resolv.conf are in it. Processes, users and the network are the host's.

  create    make one. As root it is pinned at /run/build-container/N, and nsenter --mount= works on it, too; as an
            ordinary user a process of yours holds it, until remove or the end of the machine
  enter     run COMMAND, or your login shell, in it: as yourself, in your home, in the same directory
  list      what there is, and what runs in it
  remove    let go of it. Refused while something runs in it. DIR stays, and all that was mounted

  --name N       what to call it (default: the architecture)
  --bind SRC     mount something else of the host in it, too, at DST or the same place
  --no-home      without /home
  --route kernel|userns|supervise
                 by an entry of the host, which must have flag F (binproxy binfmt register makes one); by one in a
                 user namespace of the container's own (Linux 6.7 and later); or by a supervisor that enter starts.
                 Default: for root the host's, where there is one with F, else userns, else what is left
  --emulator FILE  a static emulator, instead of searching beside binproxy and in PATH
  --release R    the kernel release that programs in it are told; also --kernel-version V, --sysname S,
                 --nodename N, --machine M. With create for whoever enters; with enter for this once
  --user U       enter as this user of the container; behind sudo the default is the one who called sudo
`,
	Run: run,
}

func run(args []string) error {
	if len(args) == 0 {
		return exit.Errorf(exit.Failed, "container: say what to do: create, enter, list or remove; see binproxy help container")
	}
	switch args[0] {
	case "create":
		return create(args[1:])
	case "enter":
		return enter(args[1:])
	case "list":
		return list(args[1:])
	case "remove":
		return remove(args[1:])
	case container.Entrypoint:
		return container.Make()
	case container.AnchorEntrypoint:
		return container.Hold()
	case container.InsideEntrypoint:
		if len(args) == 2 {
			return container.Inside(args[1])
		}
	case container.ProveEntrypoint:
		if len(args) == 2 && arch.Get(args[1]) != nil {
			return container.Prove(args[1])
		}
	}
	return exit.Errorf(exit.Failed, "container: %q is none of create, enter, list, remove; see binproxy help container", args[0])
}

func create(args []string) error {
	var binds applet.List
	o := container.Options{Warn: func(format string, args ...any) { fmt.Fprintf(os.Stderr, "binproxy: "+format+"\n", args...) }}
	flags := applet.NewFlags("container create")
	abi := flags.String("arch", "", "")
	flags.StringVar(&o.Location, "location", "", "")
	flags.StringVar(&o.Name, "name", "", "")
	flags.Var(&binds, "bind", "")
	flags.BoolVar(&o.NoHome, "no-home", false, "")
	flags.StringVar(&o.Route, "route", "", "")
	flags.StringVar(&o.Emulator, "emulator", "", "")
	flags.Identity(&o.Identity)
	operands, err := flags.Parse(args)
	if err != nil {
		return err
	}
	if len(operands) > 0 || *abi == "" || o.Location == "" {
		return exit.Errorf(exit.Failed, "container create: it is --arch ARCH --location DIR, and flags; see binproxy help container")
	}
	switch o.Route {
	case "", container.RouteKernel, container.RouteUserns, container.RouteSupervise:
	default:
		return exit.Errorf(exit.Failed, "container create: --route is kernel, userns or supervise, not %q", o.Route)
	}
	if o.ABI, err = arch.Parse(*abi); err != nil {
		return err
	}
	o.Binds = binds
	if o.Identity, err = told(o.Identity, o.ABI); err != nil {
		return err
	}
	c, err := container.Create(o)
	if err != nil {
		return err
	}
	fmt.Printf("container %s: %s at %s, route %s; binproxy container enter %s\n", c.Name, c.Arch, c.Location, c.Route, c.Name)
	return nil
}

func enter(args []string) error {
	var v container.Visit
	flags := applet.NewFlags("container enter")
	flags.StringVar(&v.User, "user", "", "")
	flags.Identity(&v.Identity)
	before, err := flags.ParseCommand(args)
	if err != nil {
		return err
	}
	if len(before) == 0 {
		return exit.Errorf(exit.Failed, "container enter: name the container; binproxy container list has them")
	}
	// Flags may come behind the name, too; what is behind "--" is the command's.
	if v.Argv, err = flags.ParseCommand(before[1:]); err != nil {
		return err
	}
	if v.Identity, err = told(v.Identity, nil); err != nil {
		return err
	}
	v.Proc = identity.ProcTrace
	return container.Enter(before[0], v)
}

// told finishes the identity that the flags set, and warns of a release that promises calls which
// the kernel lacks.
func told(set identity.Identity, guest *arch.ABI) (identity.Identity, error) {
	i := identity.Chosen(set)
	if err := i.Check(); err != nil || i.Release == "" {
		return i, err
	}
	running, err := identity.Kernel()
	if err != nil {
		return i, err
	}
	abis := []*kernel.ABI{kernel.Of(arch.Host())}
	if guest != nil {
		abis = append(abis, kernel.Of(guest))
	}
	if line := kernel.SpoofWarning(i.Release, running.Release, abis...); line != "" {
		fmt.Fprintln(os.Stderr, "binproxy: container:", line)
	}
	return i, nil
}

func list(args []string) error {
	if _, err := applet.NewFlags("container list").Parse(args); err != nil {
		return err
	}
	all, err := container.List()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "NAME\tARCH\tROUTE\tLOCATION\tSTATE")
	for _, s := range all {
		state := "idle"
		switch {
		case !s.Alive:
			state = "gone: container remove clears it away"
		case len(s.Processes) > 0:
			state = fmt.Sprintf("%d running", len(s.Processes))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Arch, s.Route, s.Location, state)
	}
	return nil
}

func remove(args []string) error {
	names, err := applet.NewFlags("container remove").Parse(args)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return exit.Errorf(exit.Failed, "container remove: name one container; binproxy container list has them")
	}
	return container.Remove(names[0])
}
