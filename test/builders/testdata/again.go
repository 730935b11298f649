// Again executes itself by the path that Go knows of it, and prints what it was called with.
package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Println(os.Args[1:])
		return
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	out, err := exec.Command(self, "once", "more").Output()
	fmt.Print(self, " ", string(out))
	if err != nil {
		panic(err)
	}
}
