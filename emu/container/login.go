package container

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// account is a line of passwd(5).
type account struct {
	Name        string
	UID, GID    int
	Home, Shell string
}

// opener opens a file of the container.
type opener func(path string) (io.ReadCloser, error)

// lookUp finds the first matching account of the file. A missing file has none.
func lookUp(open opener, path string, wanted func(account) bool) (account, bool, error) {
	var found account
	ok := false
	err := eachLine(open, path, func(f []string) bool {
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
func memberships(open opener, path, name string) ([]int, error) {
	var gids []int
	err := eachLine(open, path, func(f []string) bool {
		if gid, isMember, err := group(f, name); err == nil && isMember {
			gids = append(gids, gid)
		}
		return true
	})
	return gids, err
}

// group is a line of group(5): its number, and whether it names the user.
func group(f []string, name string) (gid int, isMember bool, err error) {
	if len(f) != 4 {
		return 0, false, strconv.ErrSyntax
	}
	gid, err = strconv.Atoi(f[2])
	return gid, slices.Contains(strings.Split(f[3], ","), name), err
}

// called matches the account with this name or number.
func called(user string) func(account) bool {
	number, err := strconv.Atoi(user)
	return func(a account) bool { return a.Name == user || err == nil && a.UID == number }
}

// eachLine hands out the lines of a file, split at colons, until more is false.
func eachLine(open opener, path string, more func(fields []string) bool) error {
	f, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	bounded := &io.LimitedReader{R: f, N: maxAccounts}
	lines := bufio.NewScanner(bounded)
	for lines.Scan() {
		if !more(strings.Split(lines.Text(), ":")) {
			return nil
		}
	}
	if bounded.N == 0 {
		return fmt.Errorf("%s has more than %d bytes", path, maxAccounts)
	}
	return lines.Err()
}

// maxAccounts is the largest size of a file of accounts.
const maxAccounts = 16 << 20

// This is the path of a login, as in Debian's login.defs.
const (
	rootPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	userPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
)

// exec has the deputy become the command, or the user's login shell.
func (v visit) exec(d *sys.Deputy, a account) (int, error) {
	shell := a.Shell
	if _, _, err := d.Stat(shell); shell == "" || err != nil {
		shell = "/bin/sh"
	}
	path := userPath
	if a.UID == 0 {
		path = rootPath
	}
	login := map[string]string{"HOME": a.Home, "USER": a.Name, "LOGNAME": a.Name, "SHELL": shell, "PATH": path}
	env := environment(os.Environ(), login, func(dir string) bool { return isDirFor(d, dir) })
	program, argv := shell, []string{"-" + filepath.Base(shell)}
	if len(v.Argv) > 0 {
		argv = v.Argv
		if program = lookPath(d, argv[0], path); program == "" {
			return 0, exit.Errorf(exit.NotFound, "%s: not found in the container (PATH is %s)", argv[0], path)
		}
	}
	pid, err := d.Exec(program, argv, env)
	return pid, failed(program, err)
}

// lookPath finds a command as a shell does; "" if there is none.
func lookPath(d *sys.Deputy, name, path string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for dir := range strings.SplitSeq(path, ":") {
		if file := dir + "/" + name; d.Executable(file) == nil && !isDirFor(d, file) {
			return file
		}
	}
	return ""
}

func isDirFor(d *sys.Deputy, path string) bool {
	mode, _, err := d.Stat(path)
	return err == nil && mode&unix.S_IFMT == unix.S_IFDIR
}

func failed(program string, err error) error {
	if err == nil {
		return nil
	}
	return exit.With(exit.OfExec(err), fmt.Errorf("in the container: %s: %w", program, err))
}

// hostOnly are variables that name files of the host's architecture, or the host's user.
var hostOnly = [...]string{"LD_LIBRARY_PATH", "LD_PRELOAD", "SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"}

// tempNames are variables that name a directory for temporary files.
var tempNames = [...]string{"TMPDIR", "TMP", "TEMP", "TEMPDIR"}

// environment is the caller's, with the login variables of the container. isDir reports whether
// the container has such a directory.
func environment(env []string, login map[string]string, isDir func(string) bool) []string {
	var out []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		drop := false
		for _, h := range hostOnly {
			drop = drop || name == h
		}
		for _, t := range tempNames {
			// A directory of the host that the container lacks.
			drop = drop || name == t && !isDir(v[len(t)+1:])
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
