package supervise

import "binproxy/emu/supervise/launch"

// What others need of the launcher.

// LaunchName is the argv[0] of the entrypoint that becomes the command.
const LaunchName = launch.Name

// Launch is that entrypoint. It returns only with an error.
func Launch(args []string) error { return launch.Main(args) }

// Refused means that the machine does not allow a route.
type Refused = launch.Refused

// Enter becomes the command without supervision: where the kernel routes its execs, or a
// supervisor that we are under does. It returns only with an error.
func Enter(c Config) error { return launch.Enter(c.command()) }

// Candidates lists the paths that a command may be found at, by the PATH of the environment.
func Candidates(name string, env []string) []string { return launch.Candidates(name, env) }

func (c *Config) command() launch.Command {
	return launch.Command{Name: c.Command, Argv: c.Argv, Env: c.Env, Root: c.Root, Dir: c.Dir}
}
