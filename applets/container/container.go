// Package container is the applet for architecture emulation containers.
package container

import (
	"fmt"
	"os"
	"text/tabwriter"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/container"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/kernel"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "container",
	Synopsis: "live in a root of another architecture, with your home directory",
	Text: `
A container is a mount namespace: DIR is its root, and the host's /proc, /sys, /dev, /home, /var/tmp
and /etc/resolv.conf are in it. Processes, users and the network are the host's.
`,
	Commands: []applet.Command{
		{Name: "create", Args: "--arch ARCH --location DIR [FLAG...]", Flags: createFlags,
			Text: "make a container. Root's is pinned at /run/build-container/N, where nsenter --mount= works, too; an ordinary user's is held by a process, until remove or shutdown"},
		{Name: "enter", Args: "N [FLAG...] [-- COMMAND [ARGUMENT...]]", Leads: true, Flags: enterFlags,
			Text: "run COMMAND, or your login shell, in it: as yourself, in the same directory. An identity set by flags is for this visit only"},
		{Name: "list", Args: "[--json]", Text: "list the containers, and what runs in them", Flags: listFlags},
		{Name: "remove", Args: "N", Text: "remove it, unless something runs in it. DIR stays, and all that was mounted", Run: remove},
	},
}

// creation are the flags of create.
type creation struct {
	container.Options
	abi   string
	binds applet.List
}

func createFlags(f applet.Flags) applet.Run {
	var c creation
	f.Arch(&c.abi, "`ARCH` the architecture of the root (default: TARGETPLATFORM, else DOCKER_DEFAULT_PLATFORM)")
	f.StringVar(&c.Location, "location", "", "`DIR` the root")
	f.StringVar(&c.Name, "name", "", "`N` its name (default: the architecture)")
	f.Var(&c.binds, "bind", "`SRC[:DST]` also mount SRC of the host, at DST or the same place")
	f.BoolVar(&c.NoHome, "no-home", false, "without /home")
	f.StringVar(&c.Route, "route", "", "`R` kernel: by an entry of the host, which must have flag F (binproxy binfmt register makes one); userns: by one in a user namespace of the container's own (Linux 6.7 and later); or supervise: by a supervisor that enter starts (default: the first that works: for root in this order, else userns, kernel, supervise)")
	f.StringVar(&c.Emulator, "emulator", "", "`FILE` a static emulator, instead of searching beside binproxy and in PATH")
	f.Identity(&c.Identity)
	return c.run
}

func (asked *creation) run(operands []string) (err error) {
	o := asked.Options
	o.Warn = func(format string, args ...any) { fmt.Fprintf(os.Stderr, "binproxy: "+format+"\n", args...) }
	if o.ABI, err = applet.Guest(asked.abi, arch.Parse); err != nil {
		return exit.Errorf(exit.Failed, "container create: %w", err)
	}
	if len(operands) > 0 || o.ABI == nil || o.Location == "" {
		return exit.Errorf(exit.Failed, "container create: it is --arch ARCH --location DIR, and flags; see binproxy help container")
	}
	switch o.Route {
	case "", container.RouteKernel, container.RouteUserns, container.RouteSupervise:
	default:
		return exit.Errorf(exit.Failed, "container create: --route is kernel, userns or supervise, not %q", o.Route)
	}
	o.Binds = asked.binds
	if o.Identity, err = complete(o.Identity, o.ABI); err != nil {
		return err
	}
	c, err := container.Create(o)
	if err != nil {
		return err
	}
	fmt.Printf("container %s: %s at %s, route %s; binproxy container enter %s\n", c.Name, c.Arch, c.Location, c.Route, c.Name)
	return nil
}

func enterFlags(f applet.Flags) applet.Run {
	v := new(container.Visit)
	f.StringVar(&v.User, "user", "", "`U` enter as this user of the container (default: you; under sudo, its caller)")
	f.Identity(&v.Identity)
	return func(before []string) error { return enter(before, f, v) }
}

func enter(before []string, f applet.Flags, v *container.Visit) (err error) {
	if len(before) == 0 {
		return exit.Errorf(exit.Failed, "container enter: name the container; binproxy container list has them")
	}
	// Flags may follow the name, too; what follows "--" is the command.
	if v.Argv, err = f.ParseCommand(before[1:]); err != nil {
		return err
	}
	if v.Identity, err = complete(v.Identity, nil); err != nil {
		return err
	}
	v.Proc = identity.ProcTrace
	return container.Enter(before[0], *v)
}

// complete completes the identity that the flags set, and warns of a release that promises calls
// which the kernel lacks.
func complete(set identity.Identity, guest *arch.ABI) (identity.Identity, error) {
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
	if line := kernel.ReleaseWarning(i.Release, running.Release, abis...); line != "" {
		fmt.Fprintln(os.Stderr, "binproxy: container:", line)
	}
	return i, nil
}

// stateJSON is a container in list --json.
type stateJSON struct {
	Name      string        `json:"name"`
	Arch      string        `json:"arch"`
	Route     string        `json:"route"`
	Location  string        `json:"location"`
	State     string        `json:"state"` // idle, running or gone
	Processes []processJSON `json:"processes"`
}

type processJSON struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

func listFlags(f applet.Flags) applet.Run {
	asJSON := f.Bool("json", false, applet.JSONUsage)
	return func([]string) error { return list(*asJSON) }
}

func list(asJSON bool) error {
	all, err := container.List()
	if err != nil {
		return err
	}
	shown := []stateJSON{}
	for _, s := range all {
		j := stateJSON{s.Name, s.Arch, s.Route, s.Location, "idle", []processJSON{}}
		for _, p := range s.Processes {
			j.Processes = append(j.Processes, processJSON{p.PID, p.Name})
		}
		switch {
		case !s.Alive:
			j.State = "gone"
		case len(s.Processes) > 0:
			j.State = "running"
		}
		shown = append(shown, j)
	}
	if asJSON {
		return applet.WriteJSON(os.Stdout, map[string]any{"containers": shown})
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "NAME\tARCH\tROUTE\tLOCATION\tSTATE")
	for _, s := range shown {
		state := s.State
		switch state {
		case "gone":
			state = "gone: container remove clears it away"
		case "running":
			state = fmt.Sprintf("%d running", len(s.Processes))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Arch, s.Route, s.Location, state)
	}
	return nil
}

func remove(names []string) error {
	if len(names) != 1 {
		return exit.Errorf(exit.Failed, "container remove: name one container; binproxy container list has them")
	}
	return container.Remove(names[0])
}
