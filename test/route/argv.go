//go:build ignore

// Argv is a guest program for the tests: it prints how it was started, as one line.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Printf("argv %q pid %d\n", os.Args, os.Getpid())
}
