package builder

import (
	"fmt"
	"slices"
	"strings"

	"binproxy/emu/arch"
)

// A Request is what the user asks for.
type Request struct {
	// Builder is one of Names, the name of a builder of docker's buildx, or "" for any.
	Builder string
	Plug    Plug // "" for the best one that the builder takes
	// Frontend is the image of the BuildKit frontend, "" for none.
	Frontend string
	// Platforms are the images' platforms as the user wrote them; empty for the builder's own.
	Platforms []string
	// Foreign are the ABIs of those platforms that the host does not run by itself.
	Foreign []*arch.ABI
	// Options are for binproxy run and binproxy runtime: the guests' identity, their twins, the
	// summary.
	Options Options
	Rest    []string // the builder's own arguments
}

// Options apply to the programs of the image, never to a builder.
type Options struct {
	Release string
	Twins   string // "auto" for the host's programs, a directory, "off" or "" for none
	Summary bool
}

// A Command is the program that builds, with its whole argument vector and its additions to our
// environment.
type Command struct {
	Path string
	Argv []string
	Env  []string
	Plug Plug
	Why  string // one line: the builder, its plug, and the reason
}

// Plan chooses a builder and its plug. proves asks a builder's daemon whether it runs an ABI by
// itself; Plan calls it only if the answer decides.
func Plan(r Request, found []Builder, own Own, proves func(Builder, *arch.ABI) (bool, string)) (Command, error) {
	names := r.Candidates()
	found = slices.DeleteFunc(slices.Clone(found), func(b Builder) bool { return !slices.Contains(names, b.Name) })
	if len(found) == 0 {
		return Command{}, fmt.Errorf("found no builder in PATH (%s); install one, for instance buildah", strings.Join(names, ", "))
	}
	var reasons []string
	for _, b := range found {
		plug, why := r.plug(b, proves)
		if plug == "" {
			reasons = append(reasons, b.Name+": "+why)
			continue
		}
		c := r.command(b, plug, own)
		c.Why = fmt.Sprintf("building with %s, plug %s: %s", b.Name, plug, why)
		if len(reasons) > 0 {
			c.Why += "; not with " + strings.Join(reasons, "; not with ")
		}
		return c, nil
	}
	return Command{}, fmt.Errorf("no builder here can run %s programs: %s; docs/builders.md says how each is set up",
		platforms(r.Foreign), strings.Join(reasons, "; "))
}

// Candidates are the names of the builders that may be taken, in order.
func (r Request) Candidates() []string {
	switch {
	case r.Builder == "":
		return Names[:]
	case slices.Contains(Names[:], r.Builder):
		return []string{r.Builder}
	}
	return []string{Docker} // a builder of buildx
}

// plug gives the plug for a builder, with the reason; "" for none, with the reason for that.
func (r Request) plug(b Builder, proves func(Builder, *arch.ABI) (bool, string)) (Plug, string) {
	switch {
	case b.Refused != "":
		return "", b.Refused
	case len(r.Foreign) == 0:
		return Itself, "the platform is the host's own"
	case r.Plug == Frontend && (r.Frontend == "" || !b.buildKit()):
		return "", "the frontend's image is to be named (--frontend), and is for docker and buildctl"
	case b.Remote != "":
		return r.daemon(b, proves)
	case r.Plug == Itself:
		if ok, why := r.all(b, proves); !ok {
			return "", why
		}
		return Itself, "it runs them already"
	case b.OCI && !r.chroot() && r.Plug != Run:
		return Runtime, "it takes an OCI runtime"
	case r.Plug == Runtime:
		return "", "it runs the image's programs without an OCI runtime here (chroot isolation, or no runc and no crun)"
	}
	return Run, "it starts the image's programs itself"
}

// daemon gives the plug for a builder behind a socket, where only a set-up on its side helps, or
// what its daemon fetches itself.
func (r Request) daemon(b Builder, proves func(Builder, *arch.ABI) (bool, string)) (Plug, string) {
	if r.Frontend != "" && b.buildKit() && (r.Plug == "" || r.Plug == Frontend) {
		if r.Options.Twins != "" && r.Options.Twins != "off" {
			return "", "to the frontend twins are a context of the build, which docs/frontend.md tells of"
		}
		return Frontend, b.Remote + " builds by the image " + r.Frontend
	}
	if r.Plug != "" && r.Plug != Itself {
		return "", fmt.Sprintf("plug %s cannot be put around a daemon that runs already (%s)", r.Plug, b.Remote)
	}
	ok, why := r.all(b, proves)
	switch {
	case !ok:
		return "", fmt.Sprintf("%s runs no %s programs (%s)", b.Remote, platforms(r.Foreign), why)
	case r.Options != Options{}:
		return "", "what guests are told is set where its plug was set up, so --release, --twins and --summary are not for it"
	}
	return Itself, b.Remote + " runs them already"
}

func (r Request) all(b Builder, proves func(Builder, *arch.ABI) (bool, string)) (bool, string) {
	for _, abi := range r.Foreign {
		if ok, why := proves(b, abi); !ok {
			return false, why
		}
	}
	return true, ""
}

// chroot reports whether the user's own arguments ask buildah for an isolation without a runtime.
func (r Request) chroot() bool {
	i := slices.Index(r.Rest, "--isolation")
	return slices.Contains(r.Rest, "--isolation=chroot") || i >= 0 && i+1 < len(r.Rest) && r.Rest[i+1] == "chroot"
}

// command gives the whole command line.
func (r Request) command(b Builder, plug Plug, own Own) Command {
	c := Command{Path: b.Path, Argv: []string{b.Name}, Plug: plug}
	if plug == Runtime && b.Name == Podman {
		c.Argv = append(c.Argv, "--runtime", own.Runtime())
	}
	c.Argv = append(c.Argv, r.build(b)...)
	if plug == Runtime && b.Name == Buildah {
		c.Argv = append(c.Argv, "--runtime", own.Runtime())
	}
	c.Argv = append(c.Argv, r.arguments(b, plug)...)
	switch plug {
	case Frontend:
		if b.Name == Docker {
			c.Env = []string{"DOCKER_BUILDKIT=1"}
		}
	case Runtime:
		c.Env = r.Options.environment()
	case Run:
		c.Argv = slices.Concat([]string{"binproxy", "run"}, r.Options.flags(), []string{"--", b.Path}, c.Argv[1:])
		c.Path = own.Binproxy()
	}
	return c
}

// build gives the builder's subcommand.
func (r Request) build(b Builder) []string {
	if b.Name == Docker && r.Builder != "" && r.Builder != Docker {
		return []string{"buildx", "build", "--builder", r.Builder}
	}
	return []string{"build"}
}

func (r Request) arguments(b Builder, plug Plug) []string {
	var given []string // build arguments
	if plug == Frontend {
		given = append(r.Options.environment(), "BUILDKIT_SYNTAX="+r.Frontend)
		if r.Options.Release != "" {
			given = append(given, "BINPROXY_RELEASE="+r.Options.Release)
		}
	}
	var own []string
	if platforms := strings.Join(r.Platforms, ","); b.Name == Buildctl {
		if platforms != "" {
			own = append(own, "--opt", "platform="+platforms)
		}
		for _, g := range given {
			own = append(own, "--opt", "build-arg:"+g)
		}
		return append(own, buildctl(r.Rest)...)
	} else if platforms != "" {
		own = append(own, "--platform", platforms)
	}
	for _, g := range given {
		own = append(own, "--build-arg", g)
	}
	return append(own, r.Rest...)
}

// flags gives the options of binproxy run. The bundle has the guests' identity and their twins.
func (o Options) flags() []string {
	if o.Summary {
		return []string{"--guests-only", "--summary"}
	}
	return []string{"--guests-only"}
}

// environment gives the options for binproxy runtime and the frontend.
func (o Options) environment() []string {
	if o.Summary {
		return []string{"BINPROXY_SUMMARY=1"}
	}
	return nil
}

// Worker gives the arguments that choose the worker of a daemon.
func (r Request) Worker() []string {
	if r.Builder == "" || slices.Contains(Names[:], r.Builder) {
		return nil
	}
	return []string{"--builder=" + r.Builder}
}

// String gives the command in a shell's syntax.
func (c Command) String() string {
	var words []string
	for _, w := range slices.Concat(c.Env, []string{c.Path}, c.Argv[1:]) {
		words = append(words, quoted(w))
	}
	return strings.Join(words, " ")
}

func quoted(word string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:=,@%+", c)
	}
	if word != "" && strings.TrimFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
