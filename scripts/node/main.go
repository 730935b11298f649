// Command node puts binproxy on a machine that runs containers: the bundle for its engine's
// runtime, and the emulator plugs for BuildKit. It is the program of the node image, which a
// DaemonSet starts on each node with the node's own root mounted (docs/install.md). It adds files
// and changes none: the engine's configuration stays the administrator's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Where things are: binproxy and its emulators in the image, the rest below the node's root.
const (
	source = "/binproxy/binproxy"
	bundle = "opt/binproxy"
	bin    = "usr/local/bin"
	link   = bin + "/binproxy-runtime"
)

func main() {
	archs := flag.String("arch", "", "`ARCH[,ARCH...]` the guests")
	root := flag.String("root", "/host", "`DIR` the node's root")
	wait := flag.Bool("wait", false, "wait for SIGTERM afterwards, as a DaemonSet's container has to")
	flag.Parse()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	if err := install(*root, *archs); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
	if *wait {
		<-ended
	}
}

// install has binproxy itself make the files, each in one step, over its own earlier ones only.
func install(root, archs string) error {
	for _, args := range [][]string{
		{"--arch", archs, "-o", filepath.Join(root, bundle)},
		{"--arch", archs, "--buildkit", filepath.Join(root, bin)},
	} {
		cmd := exec.Command(source, append([]string{"bundle"}, args...)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	node, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer node.Close()
	to := "/" + bundle + "/binproxy"
	if there, err := node.Readlink(link); err == nil && there == to {
		return nil
	}
	if err := node.Symlink(to, link); err != nil {
		return errors.Join(errors.New("another program has the runtime's name"), err)
	}
	return nil
}
