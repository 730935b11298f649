// Package loader lists what a dynamic program of this machine needs to run elsewhere: its loader,
// and the libraries that the loader finds for it.
//
// It asks the loader itself (ld.so --list, which glibc's and musl's know), since only the loader
// knows its configuration, its caches and the environment. The program does not run.
package loader

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"binproxy/emu/elfinfo"
)

// Of is the path of a program's loader, "" for a static program and for a file that is not ELF.
func Of(program string) (string, error) {
	f, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := elfinfo.Read(f)
	if errors.Is(err, elfinfo.ErrNotELF) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, err)
	}
	return info.Interp, nil
}

// Libraries lists a program's loader and then its libraries, sorted, by absolute paths that may be
// links. It is empty for a static program. The error for a missing library names the library.
func Libraries(program string) ([]string, error) {
	loader, err := Of(program)
	if err != nil || loader == "" {
		return nil, err
	}
	var out, said bytes.Buffer
	cmd := exec.Command(loader, "--list", program)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s --list %s: %w: %s", loader, program, err, strings.TrimSpace(said.String()))
	}
	found, err := parse(out.String())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	found = slices.DeleteFunc(found, func(path string) bool { return path == loader })
	return append([]string{loader}, found...), nil
}

// parse reads the lines of a loader's list: NAME => FILE (ADDRESS). The vDSO and the loader have
// no file.
func parse(list string) ([]string, error) {
	var found []string
	for line := range strings.Lines(list) {
		name, file, named := strings.Cut(strings.TrimSpace(line), " =>")
		if file = strings.TrimSpace(file); !named || strings.HasPrefix(file, "(") {
			continue
		}
		if i := strings.LastIndex(file, " ("); i >= 0 {
			file = file[:i]
		}
		switch {
		case !filepath.IsAbs(file):
			return nil, fmt.Errorf("its library %s is not found on this machine", name)
		case file != name:
			found = append(found, file)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
