package binfmt

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/route"
)

func statusFlags(f applet.Flags) applet.Run {
	asJSON := f.Bool("json", false, applet.JSONUsage)
	return func(names []string) error { return status(names, *asJSON) }
}

func status(names []string, asJSON bool) error {
	registry, err := binfmt.Host()
	if err != nil {
		return err
	}
	if on, err := registry.Enabled(); err != nil || !on {
		return exit.Errorf(exit.Failed, "binfmt: %s is disabled as a whole; `echo 1 >%s/status` enables it", binfmt.Dir, binfmt.Dir)
	}
	entries, err := registry.List()
	if err != nil {
		return err
	}
	asked, err := arch.ParseList(strings.Join(names, ","))
	if len(names) == 0 {
		asked, err = served(entries), nil
	}
	if err != nil {
		return err
	}
	all := []verdict{}
	failed := false
	for _, abi := range asked {
		v := judge(abi, entries)
		failed = failed || !v.Runs
		all = append(all, v)
	}
	if asJSON {
		err = applet.WriteJSON(os.Stdout, map[string]any{"architectures": all})
	} else {
		report(all)
	}
	if err == nil && failed {
		err = exit.Silent(1)
	}
	return err
}

func served(entries []binfmt.Entry) []*arch.ABI {
	var abis []*arch.ABI
	for _, abi := range arch.All() {
		if slices.ContainsFunc(entries, func(e binfmt.Entry) bool { return e.Serves(abi) }) {
			abis = append(abis, abi)
		}
	}
	return abis
}

// verdict is status's row for an architecture.
type verdict struct {
	Arch    string      `json:"arch"`
	Runs    bool        `json:"runs"`
	Why     string      `json:"why,omitempty"` // the reason if it does not run
	Entries []entryJSON `json:"entries"`

	labels []string // the entries, with their flags
}

// judge runs a program of the architecture, and looks at the entries that take it.
func judge(abi *arch.ABI, entries []binfmt.Entry) verdict {
	v := verdict{Arch: abi.Name, Entries: []entryJSON{}}
	err := route.Prove(abi, "")
	if v.Runs = err == nil; !v.Runs {
		v.Why = err.Error()
	}
	for _, e := range entries {
		if e.Serves(abi) {
			j := describeJSON(e)
			j.Emulator, j.Limits = (emulator.Emulator{Path: e.Interpreter}).Says(), e.Limits()
			v.Entries, v.labels = append(v.Entries, j), append(v.labels, label(e))
		}
	}
	return v
}

func report(all []verdict) {
	if len(all) == 0 {
		fmt.Println("no entry takes programs of an architecture that binproxy knows")
	}
	for _, v := range all {
		if v.Runs {
			fmt.Printf("%s: runs\n", v.Arch)
		} else {
			fmt.Printf("%s: does not run: %s\n", v.Arch, v.Why)
		}
		enabled := 0
		for i, e := range v.Entries {
			fmt.Printf("  entry %s: %s", v.labels[i], e.Interpreter)
			if e.Emulator != "" {
				fmt.Printf(", %s", e.Emulator)
			}
			fmt.Println()
			for _, limit := range e.Limits {
				fmt.Println("    " + limit)
			}
			if e.Enabled {
				enabled++
			}
		}
		if enabled > 1 {
			fmt.Printf("  %d entries take these programs; the kernel uses the one that was registered last\n", enabled)
		}
	}
}
