package mntns

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// account is a line of passwd(5).
type account struct {
	Name        string
	UID, GID    int
	Home, Shell string
}

// lookUp finds the first account of the file that is wanted. A file that is missing has none.
func lookUp(path string, wanted func(account) bool) (account, bool, error) {
	var found account
	ok := false
	err := eachLine(path, func(f []string) bool {
		if len(f) != 7 {
			return true
		}
		uid, err1 := strconv.Atoi(f[2])
		gid, err2 := strconv.Atoi(f[3])
		a := account{Name: f[0], UID: uid, GID: gid, Home: f[5], Shell: f[6]}
		if err1 != nil || err2 != nil || !wanted(a) {
			return true
		}
		found, ok = a, true
		return false
	})
	return found, ok, err
}

// memberships lists the groups of group(5) that name the user.
func memberships(path, name string) ([]int, error) {
	var gids []int
	err := eachLine(path, func(f []string) bool {
		if len(f) != 4 {
			return true
		}
		gid, err := strconv.Atoi(f[2])
		for _, member := range strings.Split(f[3], ",") {
			if err == nil && member == name {
				gids = append(gids, gid)
			}
		}
		return true
	})
	return gids, err
}

// eachLine hands out the lines of a file, split at colons, until more is false.
func eachLine(path string, more func(fields []string) bool) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if !more(strings.Split(lines.Text(), ":")) {
			return nil
		}
	}
	return lines.Err()
}

// The path of a login, as Debian's login.defs has it.
const (
	rootPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	userPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
)

// exec replaces this process by the command, or by the user's login shell.
func (v visit) exec(a account) error {
	shell := a.Shell
	if _, err := os.Stat(shell); shell == "" || err != nil {
		shell = "/bin/sh"
	}
	path := userPath
	if a.UID == 0 {
		path = rootPath
	}
	env := environment(os.Environ(), map[string]string{"HOME": a.Home, "USER": a.Name, "LOGNAME": a.Name, "SHELL": shell, "PATH": path})
	if len(v.Argv) == 0 {
		return failed(shell, sys.Exec(shell, []string{"-" + filepath.Base(shell)}, env))
	}
	if err := os.Setenv("PATH", path); err != nil {
		return err
	}
	program, err := exec.LookPath(v.Argv[0])
	if errors.Is(err, exec.ErrNotFound) {
		return exit.Errorf(exit.NotFound, "%s: not found in the container (PATH is %s)", v.Argv[0], path)
	}
	if err != nil {
		return failed(v.Argv[0], err)
	}
	return failed(program, sys.Exec(program, v.Argv, env))
}

func failed(program string, err error) error {
	return exit.With(exit.OfExec(err), fmt.Errorf("in the container: %s: %w", program, err))
}

// hostOnly are variables that name files of the host's architecture, or the host's user.
var hostOnly = [...]string{"LD_LIBRARY_PATH", "LD_PRELOAD", "SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"}

// tempNames are variables that name a directory for temporary files.
var tempNames = [...]string{"TMPDIR", "TMP", "TEMP", "TEMPDIR"}

// environment is the caller's, with the login's variables as the container has them.
func environment(env []string, login map[string]string) []string {
	var out []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		drop := false
		for _, h := range hostOnly {
			drop = drop || name == h
		}
		for _, t := range tempNames {
			drop = drop || name == t && !isDir(v[len(t)+1:]) // one of the host's that is not in here
		}
		if _, ours := login[name]; !ours && !drop {
			out = append(out, v)
		}
	}
	for _, name := range []string{"HOME", "LOGNAME", "PATH", "SHELL", "USER"} {
		out = append(out, name+"="+login[name])
	}
	return out
}
