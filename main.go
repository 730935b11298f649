// A shim lives for a millisecond, and so does not read its cgroups to learn how many processors it
// may use.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Binproxy makes container images of another architecture run on a host that has nothing
// registered and grants nothing. It answers to the name it is called by: through a link it is a
// shim in a guest command's place, by its own name an applet.
package main

import (
	"fmt"
	"os"
	"runtime"

	"binproxy/applets"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
	"binproxy/shim"
)

// What this process becomes, the thread that leads it executes: other tracers than ours, such as
// PRoot, lose a program that another thread has executed. Only init is certain to be on that
// thread. A shim has no work for other threads, and does not pay for the one that this costs, and
// that there must be room for. Neither has the supervisor of a command that keeps its process.
func init() {
	if supervisor, err := sys.Forked(); applets.Own(os.Args) && (err != nil || supervisor != 0) {
		if err := sys.RoomForThreads(2); err != nil {
			fmt.Fprintln(os.Stderr, "binproxy:", err)
			os.Exit(exit.Failed)
		}
		runtime.LockOSThread()
	}
}

func main() {
	ok, err := shim.Main(os.Args, os.Environ())
	if !ok {
		err = applets.Main(os.Args)
	}
	if message := exit.Message(err); message != "" {
		fmt.Fprintln(os.Stderr, "binproxy:", message)
	}
	if signal := exit.SignalOf(err); signal != 0 {
		sys.Die(signal)
	}
	os.Exit(exit.Code(err))
}
