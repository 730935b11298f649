package sys

import (
	"os"
	"strings"
	"unsafe"
)

// TakeArguments gives the process's arguments, and blanks all but the first in /proc/PID/cmdline,
// so that a search for a program by its arguments does not find us.
func TakeArguments() []string {
	args := make([]string, len(os.Args))
	for i, arg := range os.Args {
		args[i] = strings.Clone(arg)
		if i > 0 {
			clear(unsafe.Slice(unsafe.StringData(arg), len(arg)))
		}
	}
	os.Args = args
	return args
}
