package bootstrap

import (
	"testing"

	"binproxy/emu/binfmt"
	"binproxy/test/lib/fields"
)

func TestMessage(t *testing.T) {
	entry := binfmt.Entry{Name: "n", Disabled: true, Extension: "x", Offset: 1, Magic: []byte{0, 1}, Mask: []byte{0xff}, Interpreter: "/i", Flags: "F"}
	o := Options{Dir: "/d\xff", From: "f", Suite: "s", Mirror: "m", Variant: "v", Include: []string{"p", "q"}, Keyring: "/k", Emulator: "/e", Route: "r", Restart: true}
	fields.Arrive(t, &job{Options: o, ABI: "arm64", Only: true, Entries: []binfmt.Entry{entry}}, new(job), ".Options.ABI")
}
