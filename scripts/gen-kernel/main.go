// Gen-kernel writes the tables of emu/kernel from the facts in scripts/kernel-facts. Run it in the
// module's root:
//
//	go run ./scripts/gen-kernel
//
// The tables are lines of text in one gzip file, which is embedded in the binary. Nothing unpacks
// them at start-up.
package main

import (
	"fmt"
	"log"
	"os"
)

const (
	factsDir  = "scripts/kernel-facts"
	tableFile = "emu/kernel/z_tables.gz"
)

func main() {
	log.SetFlags(0)
	text, err := generate(os.DirFS(factsDir))
	if err != nil {
		log.Fatal("gen-kernel: ", err)
	}
	packed := pack(text)
	if err := os.WriteFile(tableFile, packed, 0o666); err != nil {
		log.Fatal("gen-kernel: ", err)
	}
	fmt.Printf("%s: %d bytes, unpacked %d\n", tableFile, len(packed), len(text))
}
