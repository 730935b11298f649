package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() { fmt.Println(runtime.GOARCH, os.Args) }
