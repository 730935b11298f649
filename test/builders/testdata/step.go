//go:build ignore

// Command step asks the test, at $ADDRESS, whether to go on, and writes the file /NAME.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
)

func main() {
	name := os.Args[1]
	if err := run(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(runtime.GOARCH, name)
}

func run(name string) error {
	c, err := net.Dial("tcp", os.Getenv("ADDRESS"))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintln(c, runtime.GOARCH, name); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err != nil || string(answer) != "go on" {
		return fmt.Errorf("the test says %q: %w", answer, err)
	}
	return os.WriteFile("/"+name, []byte(runtime.GOARCH), 0o644)
}
