// Package status is the applet that shows what of an image is routed, and what is not and why.
package status

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	"binproxy/shim/farm"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "status",
	Synopsis: "show what is routed, and what is not and why",
	Text: `
Looks at the directories of PATH, and at those that install changed, and changes nothing. The first
line sums up; then come the names that are not routed, with the reason, and those that do not work
as they do natively. Names with bytes that do not show are quoted.
`,
	Commands: []applet.Command{{Args: "[--all] [--json]", Flags: flags}},
}

func flags(f applet.Flags) applet.Run {
	all := f.Bool("all", false, "list what is routed, too: \"farm\" by its name, \"place\" by its absolute path")
	asJSON := f.Bool("json", false, "print one JSON object instead, with everything; a name that is not UTF-8 has its bytes in \"path_base64\"")
	return func(operands []string) error { return run(operands, *all, *asJSON) }
}

func run(operands []string, all, asJSON bool) error {
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "status: takes no operands; see binproxy help status")
	}
	cfg, err := farm.Bundle(os.Args)
	if err != nil {
		return exit.Errorf(exit.Failed, "status: %w", err)
	}
	status, err := farm.Inspect(cfg, os.Getenv("PATH"))
	if err != nil {
		return exit.Errorf(exit.Failed, "status: %w", err)
	}
	if asJSON {
		err = printJSON(os.Stdout, status)
	} else {
		err = printText(os.Stdout, status, all)
	}
	return exit.With(exit.Failed, err)
}

func printText(w io.Writer, s farm.Status, all bool) error {
	farmed, placed, neither := count(s)
	var b strings.Builder
	fmt.Fprintf(&b, "%d routed by the farm, %d by their own path, %d not routed; bundle %s, farm %s\n",
		farmed, placed, neither, farm.Display(s.Bundle), displayAll(s.Farms))
	for _, remark := range s.Remarks {
		fmt.Fprintln(&b, "attention: "+remark)
	}
	for _, item := range s.Items {
		path := farm.Display(item.Path)
		switch {
		case !item.Farm && !item.InPlace:
			fmt.Fprintf(&b, "not routed: %s: %s\n", path, item.Reason)
		case len(item.Notes) > 0:
			fmt.Fprintf(&b, "%s: %s: %s\n", how(item), path, strings.Join(item.Notes, "; "))
		case all:
			fmt.Fprintf(&b, "%s: %s\n", how(item), path)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(s farm.Status) (farmed, placed, neither int) {
	for _, item := range s.Items {
		if item.Farm {
			farmed++
		}
		if item.InPlace {
			placed++
		}
		if !item.Farm && !item.InPlace {
			neither++
		}
	}
	return farmed, placed, neither
}

func how(item farm.Item) string {
	var words []string
	if item.Farm {
		words = append(words, "farm")
	}
	if item.InPlace {
		words = append(words, "place")
	}
	return strings.Join(words, "+")
}

func displayAll(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var shown []string
	for _, name := range names {
		shown = append(shown, farm.Display(name))
	}
	return strings.Join(shown, " ")
}

// object is the form of --json.
type object struct {
	Bundle  string   `json:"bundle"`
	Farms   []string `json:"farms"`
	Routed  int      `json:"routed_by_farm"`
	InPlace int      `json:"routed_by_path"`
	Not     int      `json:"not_routed"`
	Items   []item   `json:"items"`
	Remarks []string `json:"attention"`
}

type item struct {
	Path    string   `json:"path"`
	Base64  []byte   `json:"path_base64,omitempty"`
	Farm    bool     `json:"farm"`
	InPlace bool     `json:"in_place"`
	Reason  string   `json:"reason,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

func printJSON(w io.Writer, s farm.Status) error {
	o := object{Bundle: s.Bundle, Farms: append([]string{}, s.Farms...), Items: []item{}, Remarks: append([]string{}, s.Remarks...)}
	o.Routed, o.InPlace, o.Not = count(s)
	for _, i := range s.Items {
		shown := item{Path: i.Path, Farm: i.Farm, InPlace: i.InPlace, Reason: i.Reason, Notes: i.Notes}
		if !utf8.ValidString(i.Path) {
			shown.Base64 = []byte(i.Path)
		}
		o.Items = append(o.Items, shown)
	}
	return applet.WriteJSON(w, o)
}
