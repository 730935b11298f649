package probe

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/route"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
)

// Machine probes what does not depend on an architecture.
func Machine() []Result {
	ptrace, memory := traced()
	return []Result{
		named("ptrace", ptrace),
		named("process_vm_readv", memory),
		named("no_new_privs", noNewPrivs()),
		named("seccomp filter", ask(command(nil, nil, "filter", "bound"), profile("a kernel with CONFIG_SECCOMP_FILTER"))),
		named("seccomp listener", ask(command(nil, nil, "listener"), profile("Linux 5.9 or later"))),
		named("user namespaces", userNamespaces()),
	}
}

func named(name string, r Result) Result { r.Name = name; return r }

// Guest is what was found for one architecture.
type Guest struct {
	Arch     string   `json:"arch"`
	Emulator Result   `json:"emulator"`
	Routes   []Result `json:"routes"`
	Auto     string   `json:"auto"` // the route that auto takes for it, "" for none
	Why      string   `json:"why"`
}

// Probe probes each route for programs of the ABI, with the emulators and the bundle of the
// configuration.
func Probe(abi *arch.ABI, cfg config.Config) Guest {
	g := Guest{Arch: abi.Name}
	emulator, found := emulatorOf(abi, cfg)
	g.Emulator = named("emulator", found)
	g.Routes = []Result{named(string(route.Kernel), kernelRoute(abi))}
	if found.Answer == Yes {
		g.Routes = append(g.Routes,
			named(string(route.Userns), usernsRoute(abi, emulator)),
			named(string(route.Supervise), superviseRoute(abi, emulator)),
			named(string(route.Preload), preloadRoute(cfg, abi)),
			named(string(route.Farm), farmRoute(cfg)))
	} else {
		for _, r := range []route.Route{route.Userns, route.Supervise, route.Preload, route.Farm} {
			g.Routes = append(g.Routes, Result{string(r), found.Answer, "it needs an emulator", found.Change})
		}
	}
	g.Auto, g.Why = g.auto(abi, cfg)
	return g
}

// auto is the route that Choose takes, or the one that Fallback takes where that is refused.
func (g Guest) auto(abi *arch.ABI, cfg config.Config) (name, why string) {
	ask := route.Ask{Route: route.Auto, ABIs: []*arch.ABI{abi}}
	ask.Spoof = cfg.Identity.Release != ""
	ask.Hooks, ask.Single = cfg.Preloads(abi), cfg.Inside != nil
	choice := route.Choose(ask)
	if choice.Route != route.Supervise || g.answer(route.Supervise) != No {
		return string(choice.Route), choice.Why
	}
	if choice, ok := route.Fallback(ask, errors.New("the route supervise is refused here")); ok && g.answer(choice.Route) == Yes {
		return string(choice.Route), choice.Why
	}
	return "", "no route is left"
}

func (g Guest) answer(r route.Route) Answer {
	for _, result := range g.Routes {
		if result.Name == string(r) {
			return result.Answer
		}
	}
	return Unknown
}

// emulatorOf finds the emulator and makes it run the smallest program.
func emulatorOf(abi *arch.ABI, cfg config.Config) (emulator.Emulator, Result) {
	e, err := cfg.Emulator(abi)
	if err != nil {
		return e, no("a bundle made with --arch "+abi.Name+", the package qemu-user-static, or --emulator FILE", "%v", err)
	}
	e.Path = sys.Inherit(e.Path)
	program, err := route.InMemory(abi)
	if err != nil {
		return e, unknown(err)
	}
	defer program.Close()
	out, end, err := Trial(e, program)
	switch {
	case end == nil:
		return e, no("an emulator that is a program of this host", "%v", err)
	case end.ExitCode() != tiny.Status:
		return e, no("another emulator", "%s does not run the smallest program: %v: %s", e.Path, err, strings.TrimSpace(out))
	}
	return e, yes("%s", strings.TrimSpace(e.Path+" "+e.Version()))
}

// Trial runs a program (route.InMemory) in the emulator. It gives the emulator's output and how it
// ended, nil where it did not start.
func Trial(e emulator.Emulator, program *os.File) (said string, end *os.ProcessState, err error) {
	argv := e.Argv(emulator.Call[string]{Argv0: "tiny", File: "/proc/self/fd/3"})
	cmd := exec.Command(e.Program(), argv[1:]...)
	cmd.ExtraFiles = []*os.File{program}
	out, err := cmd.CombinedOutput()
	return string(out), cmd.ProcessState, err
}

func kernelRoute(abi *arch.ABI) Result {
	if sys.Supervised() {
		return unknown(errors.New("the supervisor of this process answers in the kernel's place"))
	}
	err := route.Prove(abi, "")
	switch {
	case err == nil:
		return yes("the host's kernel runs its programs")
	case errors.Is(err, route.ErrUnknown):
		return no("an entry in the host's binfmt_misc (package qemu-user-static or binfmt-support on the host, as its root)", "the kernel does not recognise its programs")
	case errors.Is(err, route.ErrNoEmu):
		return no("an entry with flag F, or the emulator at the path that the entry names", "%v", err)
	}
	return unknown(err)
}

func superviseRoute(abi *arch.ABI, e emulator.Emulator) Result {
	program, err := route.InMemory(abi)
	if err != nil {
		return unknown(err)
	}
	defer program.Close()
	p := command(nil, []*os.File{program}, "supervise", abi.Name, e.Path, e.Loader)
	r := ask(p, "ptrace, a seccomp filter and its listener: see there")
	if r.Answer == No && sys.Supervised() {
		return yes("a supervisor already routes every exec of this process")
	}
	return r
}

// superviseTiny runs the program of descriptor 3 under supervision: from the descriptor, and if
// that fails (without a listener a program needs a path), from a file.
func superviseTiny(args []string) error {
	if len(args) != 3 || arch.Get(args[0]) == nil {
		return exit.Errorf(exit.Failed, "an architecture, an emulator and its loader")
	}
	unix.CloseOnExec(3) // ours from now on; the supervisor must not pass it on
	if fd, ok := sys.OwnDescriptor(args[1]); ok {
		unix.CloseOnExec(fd)
	}
	program := fmt.Sprintf("/proc/%d/fd/3", os.Getpid())
	err := superviseProgram(program, args)
	if err == nil || errors.As(err, new(*supervise.Refused)) {
		return err
	}
	file, copied := copyProgram(program)
	if copied != nil {
		return err
	}
	defer os.Remove(file)
	return superviseProgram(file, args)
}

// copyProgram makes a temporary file of a program.
func copyProgram(from string) (string, error) {
	text, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "binproxy-tiny-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o700), f.Close()); err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}

func superviseProgram(program string, args []string) error {
	abi := arch.Get(args[0])
	status, err := supervise.Run(supervise.Config{
		Command: program, Argv: []string{program}, Env: os.Environ(),
		Guest: func(a *arch.ABI) bool { return a.QEMU == abi.QEMU },
		Emulator: func(*arch.ABI) (emulator.Emulator, error) {
			return emulator.Emulator{QEMU: abi.QEMU, Path: args[1], Loader: args[2]}, nil
		},
	})
	switch {
	case err != nil:
		return err
	case status.Exited() && status.ExitStatus() == tiny.Status:
		return nil
	}
	return fmt.Errorf("the smallest program ended with %#x, not with status %d", uint32(status), tiny.Status)
}

// preloadRoute needs no right of the machine, only the guest's libraries.
func preloadRoute(cfg config.Config, abi *arch.ABI) Result {
	if cfg.Preloads(abi) {
		return yes("%s has the libraries; static and set-user-id programs take none", cfg.Dir)
	}
	return no("a bundle made anew, for that architecture too", "%s has no libraries for %s programs", cfg.Dir, abi.Name)
}

// farmRoute needs no right of the machine, only a place for the links.
func farmRoute(cfg config.Config) Result {
	if cfg.Inside != nil {
		return no("a bundle in a directory", "a single file has no place for links")
	}
	dir := cfg.Farm()
	if _, err := os.Stat(dir); err == nil {
		return yes("there is a farm at %s", dir)
	}
	if err := sys.Writable(cfg.Dir); err != nil {
		return no("root, or a bundle that can be written to", "the bundle: %v", err)
	}
	if unix.Access(filepath.Join(cfg.Dir, config.Name), unix.F_OK) != nil {
		return yes("binproxy install makes one from a bundle; %s is none yet", cfg.Dir)
	}
	return yes("binproxy install makes one")
}
