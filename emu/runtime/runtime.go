// Package runtime is an OCI runtime that wraps another one, runc or crun, so that containers of
// another architecture run.
//
// An engine calls a runtime with a container's config.json, which names the container's root, its
// mounts and its process. If that process is a program of another architecture, this package
// changes the file before the real runtime reads it: the bundle becomes one more mount, read-only,
// and `binproxy run --` comes before the process's arguments. Then the real runtime is executed in
// our place, with our arguments; for `exec`, with the changed file of its process. It does all the
// rest, and nothing of ours is left on the host. Native containers, and every other subcommand,
// reach the real runtime unchanged.
package runtime

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/entrypoint"
	"binproxy/emu/sys"
)

// annotationPrefix begins the annotations that set options of `binproxy run` for one container.
const annotationPrefix = "binproxy."

// optionsByAnnotation are the options of `binproxy run` that annotations of these names set.
var optionsByAnnotation = []string{"release", "route", "twins"}

// Wrapper wraps a runtime.
type Wrapper struct {
	Bundle string // the bundle's directory on the host
	Real   string // the real runtime's file; "" to look for runc or crun

	Summary bool // each process prints its costliest commands at its end

	config config.Config
}

// Exec becomes the real runtime with args, after changing what it will read. It returns only with
// an error, which is in the runtime's log, too.
func (w *Wrapper) Exec(args []string) error {
	c := parse(args)
	err := w.exec(c)
	report(c, err)
	return err
}

func (w *Wrapper) exec(c line) error {
	real, err := findReal(w.Real)
	if err != nil {
		return err
	}
	if w.config, err = config.Load(w.Bundle); err != nil {
		return err
	}
	switch c.name {
	case "create", "run":
		err = w.create(c)
	case "exec":
		c.args, err = w.enter(real, c)
	}
	if err != nil {
		return err
	}
	return sys.Exec(real, append([]string{real}, c.args...), os.Environ())
}

// create changes the config.json of a new container.
func (w *Wrapper) create(c line) error {
	if c.operand == len(c.args) {
		return nil // a call for help, or a fault that the real runtime reports
	}
	path := last(c.own, "config", "f").value
	if path == "" {
		path = filepath.Join(last(c.own, "bundle", "b").value, "config.json")
	}
	s, err := load(path)
	if err != nil {
		return err
	}
	changed, err := w.wrap(s)
	if err != nil || !changed {
		return err
	}
	return s.save()
}

// wrap puts the bundle and `binproxy run` into a container whose process is foreign.
func (w *Wrapper) wrap(s *spec) (changed bool, err error) {
	p := s.read.Process
	if p == nil || len(p.Args) == 0 || s.root() == "" {
		return false, nil // the real runtime reports the fault
	}
	if at, ok := placed(s.read.Mounts, w.Bundle); ok && p.Args[0] == filepath.Join(at, config.Binary) {
		return false, nil // a container that is run again
	}
	abi, err := w.guest(s.root(), *p, s.read.Mounts)
	if err != nil || abi == nil {
		return false, err
	}
	at, err := place(s)
	if err != nil {
		return false, err
	}
	if err := s.setMount(mount{Destination: at, Type: "bind", Source: w.Bundle, Options: []string{"bind", "ro", "nosuid", "nodev"}}); err != nil {
		return false, err
	}
	return true, s.setArgs(w.prefixed(at, s.read.Annotations, p.Args))
}

// guest is the ABI of the foreign program that a process leads to, nil for none. It is an error if
// the bundle has no emulator for that ABI.
func (w *Wrapper) guest(root string, p process, mounts []mount) (*arch.ABI, error) {
	c, err := openContainer(root, p.Cwd, mounts)
	if err != nil {
		return nil, err
	}
	defer c.close()
	abi := c.guest(p, w.config.Guest)
	if abi == nil {
		return nil, nil
	}
	if _, err := os.Stat(filepath.Join(w.Bundle, config.Name)); err != nil {
		return nil, fmt.Errorf("%s is a program of %s, and %s is no bundle: make one by `binproxy bundle --arch %[2]s -o DIR`, "+
			"and let the runtime's link lead to DIR/%[4]s: %[5]w", p.Args[0], abi.Name, w.Bundle, config.Binary, err)
	}
	if w.has(abi) {
		return abi, nil
	}
	return nil, fmt.Errorf("%s is a program of %s, and the bundle %s has no emulator for it; make the bundle with --arch %s",
		p.Args[0], abi.Name, w.Bundle, abi.Name)
}

// has reports whether the bundle itself has an emulator for the ABI: the container has no other.
func (w *Wrapper) has(abi *arch.ABI) bool {
	e, err := w.config.Emulator(abi)
	return err == nil && below(e.Path, w.Bundle)
}

// prefixed gives the arguments by which the bundle at a place runs a command.
func (w *Wrapper) prefixed(at string, annotations map[string]string, args []string) []string {
	all := []string{filepath.Join(at, config.Binary), "run", "--keep-pid"}
	if w.Summary {
		all[2] = "--summary" // the reporter outlives the command, which then is not PID 1
	}
	for _, option := range optionsByAnnotation {
		if value := annotations[annotationPrefix+option]; value != "" {
			all = append(all, "--"+option+"="+value)
		}
	}
	return slices.Concat(all, []string{"--"}, args)
}

// enter gives the arguments for a process that joins a container, changed if the process is
// foreign and the container was made with the bundle.
func (w *Wrapper) enter(real string, c line) ([]string, error) {
	if c.operand == len(c.args) {
		return c.args, nil
	}
	state, err := stateOf(real, c)
	if err != nil {
		return c.args, nil // the real runtime reports the fault
	}
	s, err := load(filepath.Join(state.Bundle, "config.json"))
	if err != nil {
		return c.args, nil
	}
	at, ok := placed(s.read.Mounts, w.Bundle)
	if !ok {
		return c.args, nil
	}
	root := fmt.Sprintf("/proc/%d/root", state.PID)
	prefix := func(p process) ([]string, error) {
		if len(p.Args) == 0 {
			return nil, nil
		}
		abi, err := w.guest(root, p, nil)
		if err != nil || abi == nil {
			return nil, err
		}
		return w.prefixed(at, s.read.Annotations, p.Args), nil
	}
	if file := last(c.own, "process", "p"); file.value != "" {
		return withProcess(c.args, file, prefix)
	}
	p := process{Args: c.args[c.operand+1:], Cwd: last(c.own, "cwd").value}
	if s.read.Process != nil {
		p.Env, p.Cwd = s.read.Process.Env, cmp.Or(p.Cwd, s.read.Process.Cwd)
	}
	args, err := prefix(p)
	if err != nil || args == nil {
		return c.args, err
	}
	return slices.Concat(c.args[:c.operand+1], args), nil
}

// withProcess gives the arguments of an exec whose process is in a file, with a changed copy in
// the file's place.
func withProcess(args []string, file option, prefix func(process) ([]string, error)) ([]string, error) {
	p, err := loadProcess(file.value)
	if err != nil {
		return nil, err
	}
	changed, err := prefix(p.read)
	if err != nil || changed == nil {
		return args, err
	}
	if err := p.fields.set("args", changed); err != nil {
		return nil, err
	}
	path, err := p.inMemory()
	if err != nil {
		return nil, err
	}
	args = slices.Clone(args)
	args[file.at] = strings.TrimSuffix(args[file.at], file.value) + path
	return args, nil
}

// state is the real runtime's report on a container.
type state struct {
	PID    int    `json:"pid"`
	Bundle string `json:"bundle"`
}

// stateOf asks the real runtime for a container's state.
func stateOf(real string, c line) (s state, err error) {
	var args []string
	if root := last(c.options, "root"); root.value != "" {
		args = append(args, "--root", root.value)
	}
	text, err := exec.Command(real, append(args, "state", c.args[c.operand])...).Output()
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// reals are the names of runtimes to look for, in PATH and where distributions put them.
var (
	reals = []string{"runc", "crun"}
	sbins = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
)

// Installed reports whether there is a real runtime.
func Installed() bool {
	_, err := findReal("")
	return err == nil
}

// findReal finds the real runtime; "" means any of those that are known.
func findReal(named string) (string, error) {
	names := reals
	if named != "" {
		names = []string{named}
	}
	for _, name := range names {
		for _, path := range candidates(name) {
			if unix.Access(path, unix.X_OK) == nil && !ours(path) {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("no runtime to hand containers to: looked for %s in PATH and %s; install one of them, or name one by --runtime FILE",
		strings.Join(names, " and "), strings.Join(sbins, " "))
}

func candidates(name string) (list []string) {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), sbins...) {
		if filepath.IsAbs(dir) {
			list = append(list, filepath.Join(dir, name))
		}
	}
	return list
}

// ours reports whether a path is a link to binproxy itself.
func ours(path string) bool {
	self, err := os.Stat(entrypoint.Self)
	if err != nil {
		return false
	}
	fi, err := os.Stat(path)
	return err == nil && (os.SameFile(fi, self) || fi.IsDir())
}

// report writes an error to the log file, where the caller reads it, as the real runtime would.
func report(c line, err error) {
	path := strings.TrimPrefix(last(c.options, "log").value, "file:")
	if path == "" || err == nil {
		return
	}
	f, openErr := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if openErr != nil {
		return
	}
	defer f.Close()
	var line bytes.Buffer
	now, message := time.Now().UTC().Format(time.RFC3339), "binproxy: "+err.Error()
	if last(c.options, "log-format").value == "json" {
		_ = json.NewEncoder(&line).Encode(map[string]string{"level": "error", "msg": message, "time": now})
	} else {
		fmt.Fprintf(&line, "time=%q level=error msg=%q\n", now, message)
	}
	_, _ = f.Write(line.Bytes())
}
