// Gen-kernel writes the tables of emu/kernel from the facts in scripts/kernel-facts. Run it in the
// module's root:
//
//	go run ./scripts/gen-kernel
//
// The tables are arrays of small integers and of constant strings, so that they are data of the
// binary and cost no start-up.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
)

const (
	factsDir = "scripts/kernel-facts"
	tableDir = "emu/kernel"
)

func main() {
	log.SetFlags(0)
	files, err := generate(os.DirFS(factsDir))
	if err != nil {
		log.Fatal("gen-kernel: ", err)
	}
	names := make([]string, 0, len(files))
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(tableDir, name), text, 0o666); err != nil {
			log.Fatal("gen-kernel: ", err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Println(len(names), "files:", names)
}
