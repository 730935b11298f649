package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is the binproxy that rows are prepared with; empty for this source's own.
var program string

// buildProgram makes dir/binproxy: as `make build` does, or a copy of program.
func buildProgram(ctx context.Context, dir string) error {
	out := filepath.Join(dir, "binproxy")
	if program != "" {
		return copied(ctx, program, out)
	}
	linked := out + ".linked"
	if err := quiet(exec.CommandContext(ctx, "scripts/build", linked)); err != nil {
		return err
	}
	return copied(ctx, linked, out)
}

// copied copies a program. All programs that are compared are copies: the linker writes its file
// by a mapping, in pages that lie scattered in the page cache. Such a program takes a quarter more
// to start than the same bytes written one after the other, as whatever unpacks an image does.
func copied(ctx context.Context, from, to string) error {
	return quiet(exec.CommandContext(ctx, "cp", from, to))
}

// earlier is the path of the program that other names: a file, or a revision that is built in dir.
func earlier(ctx context.Context, dir, other string) (string, error) {
	if _, err := os.Stat(other); err == nil {
		return filepath.Abs(other)
	}
	source, out := filepath.Join(dir, "source"), filepath.Join(dir, "earlier")
	const script = `mkdir "$1" && git archive --format=tar "$2" | tar -x -C "$1" && VERSION="$2" "$1/scripts/build" "$3"`
	if err := quiet(exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", script, "bash", source, other, out)); err != nil {
		return "", fmt.Errorf("%s is neither a program nor a revision that can be built: %w", other, err)
	}
	return out, nil
}

// against is the rows whose measured command is binproxy's, each once, against the same command
// with the other program.
func against(other string) []row {
	var list []row
	seen := map[string]bool{}
	for _, r := range rows {
		name, _, _ := strings.Cut(r.name, ", against ")
		if seen[name] || strings.Contains(name, "PRoot") {
			continue
		}
		seen[name] = true
		prepare := r.prepare
		list = append(list, row{name: name, rounds: r.rounds, prepare: func(ctx context.Context, dir string) (command, command, error) {
			ours, err := prepared(ctx, dir, "", prepare)
			if err != nil {
				return command{}, command{}, err
			}
			theirs, err := prepared(ctx, dir+"-other", other, prepare)
			return ours, theirs, err
		}})
	}
	return list
}

// prepared is the measured command of a row, with the program at path.
func prepared(ctx context.Context, dir, path string, prepare func(context.Context, string) (command, command, error)) (command, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return command{}, err
	}
	program = path
	measured, _, err := prepare(ctx, dir)
	return measured, err
}
