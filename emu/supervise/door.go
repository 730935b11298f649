package supervise

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/command"
	"binproxy/emu/supervise/launch"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/sys"
)

// What others need of the launcher.

// LaunchName is the argv[0] of the entrypoint that becomes the command.
const LaunchName = launch.Name

// Launch is that entrypoint. It returns only with an error.
func Launch(args []string) error { return launch.Main(args) }

// Refused means that the machine does not allow a route.
type Refused = launch.Refused

// Head is how the file starts that the command is, found in its root and from its working
// directory as its exec would; nil where there is none, or no /proc to look it up by.
func Head(c Config) []byte {
	proc, err := sys.OpenProc()
	if err != nil {
		return nil
	}
	defer unix.Close(proc)
	self, err := sys.Openat(proc, "self/fd", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer unix.Close(self)
	s, err := sight.New(proc, self)
	if err != nil {
		return nil
	}
	for _, path := range command.Candidates(c.Command, c.Env) {
		if head := headOf(s, c, path); head != nil {
			return head
		}
	}
	return nil
}

func headOf(s *sight.Sight, c Config, path string) []byte {
	v, err := s.Ahead(c.Root, c.Dir)
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

// Bare is the command without a supervisor.
func (c *Config) Bare() command.Command {
	return command.Command{Name: c.Command, Argv: c.Argv, Env: c.Env, Root: c.Root, Dir: c.Dir}
}
