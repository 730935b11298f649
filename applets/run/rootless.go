package run

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"binproxy/emu/command"
	"binproxy/emu/entrypoint"
	"binproxy/emu/userns"
)

// builders are commands that, for an ordinary user, make a user namespace with his subordinate ids
// before anything else. newuidmap(1), a setuid program, does that for them, and it cannot under a
// supervisor, whose filter takes no_new_privs from an ordinary user.
var builders = []string{"buildah", "podman", "rootlesskit"}

// needsNamespace reports whether the command needs its user namespace to be entered first.
func (f *flagsOf) needsNamespace(name string) bool {
	return os.Geteuid() != 0 && f.root == "" && (f.route == "auto" || f.route == "supervise") && slices.Contains(builders, filepath.Base(name))
}

// enterNamespace runs this program once more, with the same arguments, as root of the namespace
// that the builder would have made, and gives its end. ok is false for a user without subordinate
// ids, with whom the builder deals in its own way.
func enterNamespace(name string) (ok bool, err error) {
	ids, ok, err := userns.Builder()
	if !ok || err != nil {
		return false, err
	}
	env := os.Environ()
	own := filepath.Base(name) == "rootlesskit" // it makes a namespace in any case
	if !own {
		env = append(env, "_CONTAINERS_USERNS_CONFIGURED=done", "_CONTAINERS_ROOTLESS_UID="+strconv.Itoa(os.Getuid()),
			"_CONTAINERS_ROOTLESS_GID="+strconv.Itoa(os.Getgid()))
	}
	return true, userns.Run(userns.Command{IDs: ids, Subordinates: own,
		Command: command.Command{Name: entrypoint.Self, Argv: os.Args, Env: env}})
}
