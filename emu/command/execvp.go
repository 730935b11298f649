package command

import (
	"cmp"
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/elfinfo"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// defaultPath is where execvp(3) looks for a command without a PATH.
const defaultPath = "/bin:/usr/bin"

// Exec execs the command as execvp(3) does: a name with a slash as it is, another from the
// directories of PATH. It returns only with an error.
func (c Command) Exec() error {
	var denied error
	var there string // a file that the kernel has found, but not what it needs
	for _, path := range Candidates(c.Name, c.Env) {
		err := sys.Exec(path, c.Argv, c.Env)
		switch errno := sys.Errno(err); {
		case errors.Is(err, unix.EACCES):
			denied = err
		case errno == unix.ENOENT && there == "" && unix.Access(path, unix.F_OK) == nil:
			there = path
		case errno != unix.ENOENT && errno != unix.ENOTDIR:
			return exit.With(exit.CannotRun, err)
		}
	}
	if denied != nil {
		return exit.With(exit.CannotRun, denied)
	}
	return exit.Errorf(exit.NotFound, "%s: %w%s", cmp.Or(c.Name, "''"), syscall.ENOENT, withoutLoader(there))
}

// withoutLoader says what a program needs that is not there: a dynamic one's loader. It is
// "" for none.
func withoutLoader(program string) string {
	f, err := os.Open(program)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := elfinfo.Read(f)
	if err != nil || info.Interp == "" {
		return ""
	}
	return ": its loader, " + info.Interp + ", is not here: run it in a root of its architecture " +
		"(--root DIR; `binproxy bootstrap` makes one), or link it statically"
}

// Candidates lists the paths where a command may be: the name itself if it has a slash or is empty
// (no file has that name), else one in each directory of the environment's PATH.
func Candidates(name string, env []string) []string {
	if name == "" || strings.Contains(name, "/") {
		return []string{name}
	}
	path := defaultPath
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
			break
		}
	}
	var list []string
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		list = append(list, dir+"/"+name)
	}
	return list
}
