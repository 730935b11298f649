//go:build ignore

// A guest's only program: it says which architecture it is of, and its arguments.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() { fmt.Printf("%s: %q\n", runtime.GOARCH, os.Args[1:]) }
