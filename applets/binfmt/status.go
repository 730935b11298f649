package binfmt

import (
	"fmt"
	"slices"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/route"
)

func status(names []string) error {
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
	if len(asked) == 0 {
		fmt.Println("no entry takes programs of an architecture that binproxy knows")
		return nil
	}
	failed := 0
	for _, abi := range asked {
		if !report(abi, entries) {
			failed++
		}
	}
	if failed > 0 {
		return exit.Silent(1)
	}
	return nil
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

// report tells of one architecture, and whether its programs run.
func report(abi *arch.ABI, entries []binfmt.Entry) bool {
	verdict := "runs"
	err := route.Prove(abi, "")
	if err != nil {
		verdict = "does not run: " + err.Error()
	}
	fmt.Printf("%s: %s\n", abi.Name, verdict)
	enabled := 0
	for _, e := range entries {
		if !e.Serves(abi) {
			continue
		}
		fmt.Printf("  entry %s: %s", label(e), e.Interpreter)
		if version := (emulator.Emulator{Path: e.Interpreter}).Says(); version != "" {
			fmt.Printf(", %s", version)
		}
		fmt.Println()
		for _, limit := range e.Limits() {
			fmt.Println("    " + limit)
		}
		if !e.Disabled {
			enabled++
		}
	}
	if enabled > 1 {
		fmt.Printf("  %d entries take these programs; the kernel uses the one that was registered last\n", enabled)
	}
	return err == nil
}
