// Family starts itself twice, down to a depth, and prints "pid parent" for each.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

func main() {
	depth := 2
	if len(os.Args) > 1 {
		depth, _ = strconv.Atoi(os.Args[1])
	}
	fmt.Println(os.Getpid(), os.Getppid())
	if depth == 0 {
		return
	}
	for range 2 {
		cmd := exec.Command(os.Args[0], strconv.Itoa(depth-1))
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}
