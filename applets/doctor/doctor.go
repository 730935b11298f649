// Package doctor is the applet that shows which routes work on this machine, and why others do
// not.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/probe"
	"binproxy/emu/single"
	"binproxy/emu/sys"
	"binproxy/emu/uml"
	"binproxy/shim/farm"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "doctor",
	Synopsis: "find out which routes work on this machine, by trying each",
	Text: `
Tries everything that a route needs, and each route with the smallest program of each architecture.
An answer is yes, no (with the reason, and what would change it) or could not tell. Then it says
which route auto takes, and why, and of each User Mode Linux kernel here whether it boots. Nothing
is left behind.

With --builders it also finds out by which plugs (see binproxy help build) the builders of this
machine build for the first of the architectures: each of them builds the smallest image, in some
seconds, a minute at most.

The exit status is 1 if no route is left for one of the architectures.
`,
	Commands: []applet.Command{{Args: "[--arch ARCH] [--builders] [--json]", Flags: flags}},
}

func flags(f applet.Flags) applet.Run {
	archs := f.Archs("arch", "`ARCH[,ARCH...]` these architectures (default: those of the bundle, else all that an emulator is found for)")
	asJSON := f.Bool("json", false, applet.JSONUsage)
	tried := f.Bool("builders", false, "try each plug of each builder with the smallest image")
	return func(operands []string) error { return run(operands, *archs, *tried, *asJSON) }
}

// report is what --json prints.
type report struct {
	Host    string         `json:"host"`
	Kernel  string         `json:"kernel"`
	Machine []probe.Result `json:"machine"`
	Guests  []probe.Guest  `json:"guests"`
	// Kernels are those of User Mode Linux; nil without any.
	Kernels []probe.Result `json:"kernels,omitempty"`
	// Builders is nil where they were not asked for.
	Builders *builders `json:"builders,omitempty"`
}

func run(operands []string, archs string, tried, asJSON bool) error {
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "doctor: takes no operands; see binproxy help doctor")
	}
	call, err := farm.Locate(sys.Execfn(), os.Args[0])
	if err != nil {
		return exit.Errorf(exit.Failed, "doctor: %w", err)
	}
	if own, err := single.Own(call.Root.Self); !errors.Is(err, single.ErrPlain) {
		if err != nil {
			return exit.Errorf(exit.Failed, "doctor: %w", err)
		}
		call.Config = own
	}
	call.Config.Identity = identity.FromEnv(os.Getenv).Over(call.Config.Identity)
	guests, err := asked(archs, call.Config)
	if err != nil {
		return exit.Errorf(exit.Failed, "doctor: %w", err)
	}
	r, err := examine(guests, call.Config)
	if err != nil {
		return exit.Errorf(exit.Failed, "doctor: %w", err)
	}
	if tried {
		if r.Builders, err = tryBuilders(context.Background(), guests); err != nil {
			return exit.Errorf(exit.Failed, "doctor: %w", err)
		}
	}
	if asJSON {
		err = applet.WriteJSON(os.Stdout, r)
	} else {
		err = r.print(os.Stdout)
	}
	if err != nil {
		return exit.With(exit.Failed, err)
	}
	for _, g := range r.Guests {
		if g.Auto == "" {
			return exit.Silent(1)
		}
	}
	return nil
}

// asked are the architectures to look at.
func asked(names string, cfg config.Config) ([]*arch.ABI, error) {
	if names != "" {
		return arch.ParseList(names)
	}
	var named, found []*arch.ABI
	for _, abi := range arch.All() {
		if abi.Native(arch.Host()) {
			continue
		}
		if cfg.Names(abi) {
			named = append(named, abi)
		} else if _, err := cfg.Emulator(abi); err == nil {
			found = append(found, abi)
		}
	}
	if len(named) > 0 {
		return named, nil
	}
	return found, nil
}

func examine(guests []*arch.ABI, cfg config.Config) (report, error) {
	kernel, err := identity.Kernel()
	if err != nil {
		return report{}, err
	}
	r := report{Host: arch.Host().Name, Kernel: kernel.Release, Machine: probe.Machine(), Guests: []probe.Guest{}}
	for _, abi := range guests {
		r.Guests = append(r.Guests, probe.Probe(abi, cfg))
	}
	for _, k := range uml.Kernels() {
		r.Kernels = append(r.Kernels, runsHere(k))
	}
	return r, nil
}

// runsHere says whether a User Mode Linux kernel runs on this machine.
func runsHere(k *uml.Kernel) probe.Result {
	r := probe.Result{Name: "kernel " + k.Release, Answer: probe.Yes}
	err := k.Look()
	switch {
	case errors.Is(err, uml.ErrUntold):
		r.Answer = probe.Unknown
	case err != nil:
		r.Answer = probe.No
	}
	if err != nil {
		r.Reason = strings.TrimPrefix(err.Error(), string(probe.Unknown)+": ")
	}
	return r
}

func (r report) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "host %s, Linux %s\n", r.Host, r.Kernel)
	for _, result := range r.Machine {
		line(&b, result)
	}
	for _, g := range r.Guests {
		fmt.Fprintf(&b, "\nguest %s\n", g.Arch)
		line(&b, g.Emulator)
		for _, result := range g.Routes {
			result.Name = "route " + result.Name
			line(&b, result)
		}
		if g.Auto != "" {
			fmt.Fprintf(&b, "  auto takes %s: %s\n", g.Auto, g.Why)
		} else {
			fmt.Fprintf(&b, "  auto has nothing to take: %s\n", g.Why)
		}
	}
	if len(r.Guests) == 0 {
		b.WriteString("\nno emulator was found, for any architecture; install qemu-user-static, or see binproxy help bundle\n")
	}
	if r.Kernels != nil {
		b.WriteString("\nUser Mode Linux\n")
	}
	for _, result := range r.Kernels {
		line(&b, result)
	}
	if r.Builders != nil {
		r.Builders.print(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func line(w io.Writer, r probe.Result) {
	fmt.Fprintf(w, "  %-17s %s", r.Name, r.Answer)
	if r.Reason != "" {
		fmt.Fprintf(w, ": %s", r.Reason)
	}
	fmt.Fprintln(w)
	if r.Change != "" {
		fmt.Fprintf(w, "  %-17s would change with: %s\n", "", r.Change)
	}
}
