// Command binproxy-dockerfile rewrites a Dockerfile for builders that take no plug: it is what
// `binproxy dockerfile` calls, a program of its own since BuildKit's parser weighs too much for
// binproxy.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/platforms"

	"binproxy/frontend/dockerfile"
)

// failed is the status with which every command of binproxy ends if it fails itself.
const failed = 125

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "binproxy: dockerfile:", err)
		os.Exit(failed)
	}
}

func run(args []string, in io.Reader, out, remarks io.Writer) error {
	o := dockerfile.Options{Build: platforms.DefaultSpec(), Args: map[string]string{}}
	flags := flag.NewFlagSet("binproxy dockerfile", flag.ContinueOnError)
	flags.SetOutput(remarks)
	flags.Usage = func() {
		fmt.Fprint(remarks, "Usage: binproxy dockerfile --platform P [FLAG...] [FILE]\n\n"+
			"Prints FILE (default: Dockerfile; - is standard input) rewritten for a builder without a plug.\n\n")
		flags.PrintDefaults()
	}
	target := flags.String("platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "`P` the image's platform, as linux/arm64 (default: DOCKER_DEFAULT_PLATFORM)")
	build := flags.String("build-platform", "", "`P` the platform of the machine that builds (default: this machine's)")
	flags.BoolVar(&o.Same, "one-platform", false, "the builder gives every stage the image's platform, whatever FROM --platform says: kaniko does")
	flags.StringVar(&o.Bundle, "bundle", "bundle", "`DIR` the bundle's directory in the build's context")
	flags.StringVar(&o.Image, "bundle-image", "", "`NAME` an image that has only the bundle, in place of a directory in the context")
	flags.Func("build-arg", "`NAME=VALUE` a build argument that the builder gets too, for FROM and USER lines", func(value string) error {
		name, value, found := strings.Cut(value, "=")
		if !found {
			value = os.Getenv(name)
		}
		o.Args[name] = value
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 1 {
		return fmt.Errorf("%q is one word too many: flags come before the file", flags.Arg(1))
	}
	if *target == "" {
		return errors.New("--platform is missing, as in --platform linux/arm64")
	}
	var err error
	if o.Target, err = platforms.Parse(*target); err != nil {
		return err
	}
	if *build != "" {
		if o.Build, err = platforms.Parse(*build); err != nil {
			return err
		}
	}
	name := "Dockerfile"
	if flags.NArg() > 0 {
		name = flags.Arg(0)
	}
	text, err := read(name, in)
	if err != nil {
		return err
	}
	r, err := dockerfile.Rewrite(text, o)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(remarks, "binproxy: %s: %s; --bundle-image avoids that\n", name, warning)
	}
	if len(r.Guests) > 0 {
		where := "the directory " + o.Bundle + " of the context"
		if o.Image != "" {
			where = "the image " + o.Image
		}
		fmt.Fprintf(remarks, "binproxy: %s has to be made by: binproxy bundle --arch %s\n", where, strings.Join(r.Guests, ","))
	}
	_, err = out.Write(r.Text)
	return err
}

// read reads the file, up to the size of the largest that BuildKit takes.
func read(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	const most = 2 << 20
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s: larger than %d bytes", name, most)
	}
	return text, err
}
