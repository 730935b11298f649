package probe

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/route"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
)

func userNamespaces() Result {
	r := ask(command(userns.Alone().Clone(), nil, "none"), "")
	if r.Answer != Unknown {
		return r
	}
	for _, refusal := range []struct {
		text   string
		change string
	}{
		{unix.EPERM.Error(), profile("kernel.unprivileged_userns_clone=1 (Debian's older kernels), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)")},
		{unix.ENOSPC.Error(), "user.max_user_namespaces above 0"},
		{unix.EUSERS.Error(), "fewer nested user namespaces"},
		{unix.EINVAL.Error(), "a kernel with CONFIG_USER_NS"},
		{unix.ENOSYS.Error(), profile("a kernel with CONFIG_USER_NS")},
	} {
		if strings.HasSuffix(r.Reason, refusal.text) {
			return no(refusal.change, "clone(CLONE_NEWUSER|CLONE_NEWNS): %s", refusal.text)
		}
	}
	return r
}

// usernsRoute registers the emulator in a binfmt_misc of a new user namespace, and executes the
// smallest program there.
func usernsRoute(abi *arch.ABI, e emulator.Emulator) Result {
	r := ask(command(userns.Alone().Clone(), nil, "userns-binfmt", abi.Name, e.Program()),
		"Linux 6.7 or later with CONFIG_BINFMT_MISC, in which a user namespace can have a binfmt_misc of its own")
	if r.Answer == Unknown && userNamespaces().Answer == No {
		return no("user namespaces: see there", "no user namespace, no binfmt_misc of its own")
	}
	return r
}

const registry = "/proc/sys/fs/binfmt_misc"

// registerInside is the process in the namespaces.
func registerInside(args []string) error {
	if len(args) != 2 || arch.Get(args[0]) == nil {
		return exit.Errorf(exit.Failed, "an architecture and an emulator")
	}
	if err := sys.MakePrivate("/"); err != nil {
		return err
	}
	if err := sys.Mount("binfmt_misc", registry, "binfmt_misc", 0, ""); err != nil {
		return err
	}
	abi := arch.Get(args[0])
	magic, mask := abi.Magic()
	line := fmt.Sprintf(":binproxy-%s:M::%s:%s:%s:F", abi.Name, escaped(magic), escaped(mask), args[1])
	if err := os.WriteFile(registry+"/register", []byte(line), 0); err != nil {
		return fmt.Errorf("register an entry: %w", err)
	}
	if err := route.Prove(abi, ""); err != nil {
		return errors.Join(errors.New("an entry was registered, but does not work"), err)
	}
	return nil
}

func escaped(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return s.String()
}
