// Command whoami prints the effective user and the release.
package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

func main() {
	var name syscall.Utsname
	_ = syscall.Uname(&name)
	var release strings.Builder
	for _, c := range name.Release {
		if c == 0 {
			break
		}
		release.WriteByte(byte(c))
	}
	fmt.Println(os.Geteuid(), release.String())
}
