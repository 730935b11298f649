package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"binproxy/emu/arch"
	"binproxy/emu/entrypoint"
	"binproxy/emu/kernel/record"
)

// The filter of `kernel run --as` on programs that mostly make system calls. Any filter costs each
// call some tens of nanoseconds in the kernel's entry, so filterFloor compares ours with one of a
// single rule.

// filterWalk is find, which asks for each file's size, under an older kernel, against the same
// without.
func filterWalk(ctx context.Context, dir string) (command, command, error) {
	find, err := exec.LookPath("find")
	if err != nil {
		return command{}, command{}, err
	}
	tree := filepath.Join(dir, "tree")
	if err := plant(tree, 300, 100); err != nil {
		return command{}, command{}, err
	}
	argv := append([]string{find}, slices.Repeat([]string{tree}, 20)...)
	return underRelease(ctx, dir, append(argv, "-size", "+1k"))
}

// plant makes a tree of empty files.
func plant(tree string, dirs, files int) error {
	for d := range dirs {
		sub := filepath.Join(tree, strconv.Itoa(d))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		for f := range files {
			if err := os.WriteFile(filepath.Join(sub, strconv.Itoa(f)), nil, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func underRelease(ctx context.Context, dir string, argv []string) (command, command, error) {
	if err := buildProgram(ctx, dir); err != nil {
		return command{}, command{}, err
	}
	args := append([]string{"kernel", "run", "--as", "3.10", "--"}, argv...)
	return command{path: filepath.Join(dir, "binproxy"), args: args}, command{path: argv[0], args: argv[1:]}, nil
}

// cheapest makes only the cheapest calls.
const cheapest = `#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	for (long n = atol(argv[1]); n > 0; n--)
		syscall(SYS_getppid);
	return 0;
}
`

// filterFloor is the cheapest calls under an older kernel, against the same under a filter of one
// rule.
func filterFloor(ctx context.Context, dir string) (command, command, error) {
	loop := filepath.Join(dir, "loop")
	if err := os.WriteFile(loop+".c", []byte(cheapest), 0o644); err != nil {
		return command{}, command{}, err
	}
	if err := quiet(exec.CommandContext(ctx, "gcc", "-O2", "-static", "-o", loop, loop+".c")); err != nil {
		return command{}, command{}, fmt.Errorf("needs package gcc: %w", err)
	}
	measured, reference, err := underRelease(ctx, dir, []string{loop, "5000000"})
	if err != nil {
		return command{}, command{}, err
	}
	argv, err := entrypoint.Argv(entrypoint.Deny, &record.Denial{Key: record.Key{Audit: arch.Host().Audit(), Nr: 9999}, Errno: syscall.ENOSYS,
		Path: loop, Argv: append([]string{loop}, reference.args...)})
	return measured, command{path: measured.path, args: argv[1:]}, err
}
