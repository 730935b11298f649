package applet

import (
	"encoding/json"
	"io"

	"binproxy/emu/exit"
)

// JSONUsage is the usage of a --json that prints the same in another form. docs/json.md has the
// shapes.
const JSONUsage = "print one JSON object instead"

// WriteJSON prints a value, indented.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return exit.With(exit.Failed, e.Encode(v))
}
