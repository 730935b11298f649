package supervise

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/command"
	"binproxy/emu/supervise/launch"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/sys"
)

// These are the launcher's parts that other rooms need.

// Launch is the entrypoint that becomes the command. It returns only with an error.
func Launch(words []string) error { return launch.Main(words) }

// Refused means that the machine does not allow a route.
type Refused = launch.Refused

// Head returns the start of the command's file, found in its root and from its working directory
// as its exec would find it; nil if there is none, or no /proc to look it up.
func Head(c Config) []byte {
	for _, path := range command.Candidates(c.Command, c.Env) {
		if head := headOf(c, path); head != nil {
			return head
		}
	}
	return nil
}

func headOf(c Config, path string) []byte {
	v, err := Ahead(c.Root, c.Dir)
	if err != nil {
		return nil
	}
	defer v.Close()
	file, errno := v.Open(path)
	if errno != 0 {
		return nil
	}
	return file.Head
}

// Outlook is the file system as a process of ours will see it.
type Outlook struct {
	*sight.View
	proc, self int
}

// Ahead is the outlook from the root directory root ("" for ours) and, in it, from the working
// directory dir ("" for the root itself). The caller closes it.
func Ahead(root, dir string) (_ *Outlook, err error) {
	o := &Outlook{proc: -1, self: -1}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	if o.proc, err = sys.OpenProc(); err != nil {
		return nil, err
	}
	if o.self, err = sys.Openat(o.proc, "self/fd", unix.O_PATH|unix.O_DIRECTORY); err != nil {
		return nil, err
	}
	s, err := sight.New(o.proc, o.self)
	if err != nil {
		return nil, err
	}
	o.View, err = s.Ahead(root, dir)
	return o, err
}

// Close closes what the outlook holds open.
func (o *Outlook) Close() {
	if o.View != nil {
		o.View.Close()
	}
	for _, fd := range []int{o.proc, o.self} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Pair is what a command that keeps its process shares with its supervisor.
type Pair = launch.Pair

// ForkName is the argv[0] of the entrypoint that becomes both of them.
const ForkName = sys.ForkName

// NewPair makes a pair for this process, which is about to execute itself as ForkName.
func NewPair() (Pair, error) { return launch.NewPair() }

// ParsePair reads what a pair's String has written.
func ParsePair(text string) (Pair, error) { return launch.ParsePair(text) }

// Keep becomes the command in this process. Another process supervises it by calling Run with the
// same Config. Keep returns only with an error: Refused if the machine does not let us be
// supervised.
func Keep(c Config, supervisor int) error {
	return launch.Keep(c.Bare(), *c.Pair, supervisor, c.Identity, c.Proc)
}

// Bare is the command without a supervisor.
func (c *Config) Bare() command.Command {
	return command.Command{Name: c.Command, Argv: c.Argv, Env: c.Env, Root: c.Root, Dir: c.Dir}
}
