package userns

import (
	"testing"

	"binproxy/emu/binfmt"
	"binproxy/emu/command"
	"binproxy/test/lib/fields"
)

func TestMessages(t *testing.T) {
	ids := IDs{None: true, Root: true, PID: true, UID: []Range{{1, 2, 3}, {4, 5, 6}}, GID: []Range{{7, 8, 1 << 32}}}
	entry := binfmt.Entry{Name: "n", Disabled: true, Extension: "x", Offset: 1, Magic: []byte{0, 1}, Mask: []byte{0xff}, Interpreter: "/i", Flags: "F"}
	fields.Arrive(t, &Command{
		Inner: &ids, Entries: []binfmt.Entry{entry}, Subordinates: true,
		Command: command.Command{Name: "n", Argv: []string{"a", ""}, Root: "/r", Dir: "/d"},
		ignored: 1 << 63, closed: 7,
	}, new(Command), ".IDs", ".Command.Env")
}
