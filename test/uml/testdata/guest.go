// A guest program: it prints what it is, and with the argument "twice" runs itself once more and
// ends with 9.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

func main() {
	var u syscall.Utsname
	syscall.Uname(&u)
	fmt.Println(runtime.GOARCH, text(u.Machine[:]), text(u.Release[:]), os.Args)
	if len(os.Args) > 1 && os.Args[1] == "twice" {
		out, err := exec.Command(os.Args[0], "a b").Output()
		fmt.Print(string(out))
		if err != nil {
			os.Exit(1)
		}
		os.Exit(9)
	}
}

// text is a NUL-terminated string; its elements are signed on some architectures and unsigned on
// others.
func text[T int8 | uint8](field []T) string {
	var b []byte
	for _, c := range field {
		if c == 0 {
			break
		}
		b = append(b, byte(c))
	}
	return string(b)
}
