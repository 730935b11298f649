package binfmt

import (
	"fmt"

	"binproxy/emu/binfmt"
)

// entryJSON is an entry in --json. It has either an extension, or an offset, a magic and, unless
// every bit counts, a mask, both in hexadecimal.
type entryJSON struct {
	Name        string   `json:"name"`
	Enabled     bool     `json:"enabled"`
	Interpreter string   `json:"interpreter"`
	Flags       string   `json:"flags"`
	Extension   string   `json:"extension,omitempty"`
	Offset      int      `json:"offset"`
	Magic       string   `json:"magic,omitempty"`
	Mask        string   `json:"mask,omitempty"`
	Takes       []string `json:"takes"` // the names of architectures

	// of status
	Emulator string   `json:"emulator,omitempty"` // what it prints for --version
	Limits   []string `json:"limits,omitempty"`
}

func describeJSON(e binfmt.Entry) entryJSON {
	j := entryJSON{Name: e.Name, Enabled: !e.Disabled, Interpreter: e.Interpreter, Flags: e.Flags, Extension: e.Extension,
		Offset: e.Offset, Magic: fmt.Sprintf("%x", e.Magic), Mask: fmt.Sprintf("%x", e.Mask), Takes: []string{}}
	for _, abi := range e.ABIs() {
		j.Takes = append(j.Takes, abi.Name)
	}
	return j
}
