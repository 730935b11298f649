package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// release is the release that programs see; it is below every kernel's on which PRoot and we run.
const release = "4.15.0-112-generic"

// opener opens a file again and again: a spoof costs most there.
const opener = `#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct stat st;
	for (int i = 0; i < atoi(argv[1]); i++) {
		if (stat("/", &st))
			return 1;
		int fd = open("/etc/passwd", O_RDONLY);
		if (fd < 0)
			return 1;
		close(fd);
	}
	return 0;
}
`

// spoofLoop and spoofCompile run a command by binproxy run with the files as proc says, or under
// PRoot -k, against the command alone.

func spoofLoop(proc, times string) func(context.Context, string) (command, command, error) {
	return func(ctx context.Context, dir string) (command, command, error) {
		loop := filepath.Join(dir, "loop")
		if err := os.WriteFile(loop+".c", []byte(opener), 0o644); err != nil {
			return command{}, command{}, err
		}
		// Static: PRoot 5.1 -k starts no dynamic program of glibc 2.36.
		if err := quiet(exec.CommandContext(ctx, "gcc", "-O2", "-static", "-o", loop, loop+".c")); err != nil {
			return command{}, command{}, err
		}
		return spoofing(ctx, dir, proc, loop, times)
	}
}

func spoofCompile(proc string) func(context.Context, string) (command, command, error) {
	return func(ctx context.Context, dir string) (command, command, error) {
		gcc, err := exec.LookPath("gcc")
		if err != nil {
			return command{}, command{}, fmt.Errorf("needs package gcc: %w", err)
		}
		source := filepath.Join(dir, "source.c")
		if err := os.WriteFile(source, []byte(unit()), 0o644); err != nil {
			return command{}, command{}, err
		}
		return spoofing(ctx, dir, proc, gcc, "-O2", "-c", source, "-o", "/dev/null")
	}
}

// unit is a C source of a usual size, with the usual headers.
func unit() string {
	var b strings.Builder
	for _, header := range []string{"ctype", "errno", "fcntl", "math", "pthread", "signal", "stdio", "stdlib", "string", "time", "unistd"} {
		fmt.Fprintf(&b, "#include <%s.h>\n", header)
	}
	for i := range 60 {
		fmt.Fprintf(&b, `
int f%d(char *s, size_t n)
{
	int sum = %d;
	for (size_t i = 0; i < n; i++) {
		if (isspace((unsigned char)s[i]))
			sum = sum * 31 + snprintf(s, n, "%%d:%%zu", sum, i);
		else if (strtol(s + i, NULL, 10) > sum)
			sum ^= (int)strlen(s);
	}
	return sum;
}
`, i, i)
	}
	return b.String()
}

// spoofing gives the command with the spoof, and alone.
func spoofing(ctx context.Context, dir, proc, path string, args ...string) (command, command, error) {
	alone := command{path: path, args: args}
	argv := append([]string{path}, args...)
	if proc == "proot" {
		proot, err := exec.LookPath("proot")
		if err != nil {
			return command{}, command{}, fmt.Errorf("needs package proot: %w", err)
		}
		return command{path: proot, args: append([]string{"-k", release}, argv...)}, alone, nil
	}
	if proc == "auto" && os.Geteuid() != 0 {
		return command{}, command{}, errors.New("needs root: nobody else may mount")
	}
	if err := buildProgram(ctx, dir); err != nil {
		return command{}, command{}, err
	}
	run := []string{"run", "--proc", proc, "--release", release, "--"}
	return command{path: filepath.Join(dir, "binproxy"), args: append(run, argv...)}, alone, nil
}
