// Package route chooses how an execve reaches the emulator.
//
// The choice costs next to nothing where it is clear: a route that was asked for is taken, and so
// is the supervisor where no other route will do. Otherwise the kernel is asked by a try: does it
// run the smallest program of the guest's ABI? If its binfmt_misc has an entry for that ABI,
// nothing of ours need take part. Whether the machine allows a supervisor shows when one starts;
// Fallback says what then.
package route

import (
	"fmt"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/sys"
)

// A Route is a way from an execve to the emulator.
type Route string

// The routes. Auto stands for the one that Choose chooses.
const (
	Auto      Route = "auto"
	Kernel    Route = "kernel"    // the host's binfmt_misc
	Userns    Route = "userns"    // a binfmt_misc of our own user namespace
	Supervise Route = "supervise" // a seccomp filter and a tracer
	Preload   Route = "preload"   // a library in the guest's dynamic programs
	Farm      Route = "farm"      // links in the place of commands
)

// Parse reads a route's name.
func Parse(name string) (Route, error) {
	routes := []Route{Auto, Kernel, Userns, Supervise, Preload, Farm}
	var names []string
	for _, r := range routes {
		if string(r) == name {
			return r, nil
		}
		names = append(names, string(r))
	}
	return "", fmt.Errorf("unknown route %q; known: %s", name, strings.Join(names, " "))
}

// Ask is what a choice depends on.
type Ask struct {
	Route Route       // what the user asked for
	ABIs  []*arch.ABI // the guests, as far as they are known
	Root  string      // the directory that is their root; "" for our own
	Needs string      // what only the supervisor can do for them, in words; "" for nothing
	// they see an identity: the kernel's route cannot show one, the supervisor shows all of it,
	// the others a part
	Spoof  bool
	Single bool // binproxy is a single file, without libraries and links
	Hooks  bool // the preload route's libraries exist for them
	// no farm is installed that the farm's route could go by
	Farmless bool
}

// Choice is a route, and the reason for it. Outer means that a supervisor of ours already routes
// what this process executes, so there is nothing to set up.
type Choice struct {
	Route Route
	Why   string
	Outer bool
}

// Choose chooses. It never chooses Userns: a program sees that it is in a user namespace, by its
// ids, its rights and its mounts.
func Choose(a Ask) Choice {
	switch {
	case sys.Supervised():
		return Choice{Supervise, "a supervisor already routes every exec of this process", true}
	case a.Route != Auto:
		return Choice{Route: a.Route, Why: "it was asked for"}
	case a.Needs != "":
		return Choice{Route: Supervise, Why: a.Needs + " needs the supervisor"}
	case a.Spoof:
		return Choice{Route: Supervise, Why: "an identity of one's own needs the supervisor"}
	case len(a.ABIs) == 0:
		return Choice{Route: Supervise, Why: "any architecture may be meant"}
	}
	for _, abi := range a.ABIs {
		if err := Prove(abi, a.Root); err != nil {
			return Choice{Route: Supervise, Why: fmt.Sprintf("the host does not run %s programs by itself: %v", abi.Name, err)}
		}
	}
	return Choice{Route: Kernel, Why: "the host already runs the programs by itself"}
}

// Fallback is the route to take when the machine refuses the supervisor: the libraries where there
// are some, else the farm. There is none if the user asked for the supervisor, or if nothing else
// would do. Its Why is a warning for the user.
func Fallback(a Ask, refusal error) (Choice, bool) {
	if a.Route != Auto || a.Needs != "" || a.Root != "" || a.Single {
		// another root has no bundle that links and libraries could lead to
		return Choice{}, false
	}
	if a.Hooks {
		return Choice{Route: Preload, Why: fmt.Sprintf("%v; going by preload: what static and set-user-id programs execute does not reach the emulator (see binproxy doctor)", refusal)}, true
	}
	by := "going by the farm: only commands that PATH leads to reach the emulator"
	if a.Farmless {
		by = "no farm is installed here either, so of all programs only the command itself reaches the emulator: allow ptrace and seccomp, or ADD a bundle and `binproxy install` it"
	}
	why := fmt.Sprintf("%v; %s", refusal, by)
	if a.Spoof {
		why += ", and only they and uname are told the identity"
	}
	return Choice{Route: Farm, Why: why + " (see binproxy doctor)"}, true
}
