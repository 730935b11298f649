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

// builders are commands that, for an ordinary user, first make a user namespace with his
// subordinate ids. newuidmap(1), a setuid program, does that for them. It cannot under a
// supervisor, whose filter requires no_new_privs for an ordinary user.
var builders = []string{"buildah", "podman", "rootlesskit"}

// needsNamespace reports whether binproxy has to enter the command's user namespace first.
func (f *flagsOf) needsNamespace(name string) bool {
	return os.Geteuid() != 0 && f.root == "" && (f.route == "auto" || f.route == "supervise") && slices.Contains(builders, filepath.Base(name))
}

// enterNamespace runs this program once more, with the same arguments, as root of the namespace
// that the builder would have made, and returns that run's end. ok is false for a user without
// subordinate ids; the builder then acts in its own way.
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
