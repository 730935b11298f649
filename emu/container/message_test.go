package container

import (
	"testing"

	"binproxy/emu/binfmt"
	"binproxy/emu/identity"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
	"binproxy/test/lib/fields"
)

func TestMessages(t *testing.T) {
	id := identity.Identity{Sysname: "s", Nodename: "n", Release: "r", Version: "v\n", Machine: "m"}
	entry := binfmt.Entry{Name: "n", Disabled: true, Extension: "x", Offset: 1, Magic: []byte{0, 1}, Mask: []byte{0xff}, Interpreter: "/i", Flags: "F"}
	ids := userns.IDs{None: true, Root: true, PID: true, UID: []userns.Range{{Inside: 1, Outside: 2, Count: 3}}, GID: []userns.Range{{Inside: 1, Outside: 2, Count: 3}}}
	fields.Arrive(t, &plan{ABI: "a", Location: "/l", Mounts: []mount{{"/s", "/a", true}, {}}, Entries: []binfmt.Entry{entry}, Emulator: true, NoSetID: true, Identity: id, Inner: &ids, FailAt: 3},
		new(plan), ".emulator")
	fields.Arrive(t, &visit{
		Visit: Visit{User: "u", Argv: []string{"\xff"}, Identity: id, Proc: identity.ProcTrace}, Single: true, Host: &hostAccounts{-1, []int{1, 2}, []int{3}},
		Caller: account{Name: "n", UID: 1, GID: -1, Home: "/h", Shell: "/s"}, Dir: "/d", Is: sys.FileIdentity{Major: 1, Minor: 1<<32 - 1, Inode: 1<<64 - 1},
		ABI: "a", Emulator: "/e", EmulatorFD: 9,
	}, new(visit))
	fields.Arrive(t, &proof{"aarch64"}, new(proof))
}
