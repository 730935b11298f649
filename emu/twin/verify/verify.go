// Package verify runs the tries of the rules, once with twins and once by emulation alone, and
// compares the results: output, exit status, and the files that they leave, byte for byte.
package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"binproxy/emu/twin"
)

// Options say what to verify.
type Options struct {
	Self  string // the program; its applet run runs the tries
	Set   *twin.Set
	Root  string   // the guest's root directory
	Names []string // programs; empty for all of the set's
	Run   []string // further arguments of run
}

// Outcome is the result for one twin. Tries counts the scripts that it ran in; Differs lists those
// with different results.
type Outcome struct {
	Name    string
	Tries   int
	Differs []string
	Why     string // it never ran: the reason
}

// verifier is a verification in progress.
type verifier struct {
	Options
	inside, outside string // the working directory, in the root and for us
	outcomes        map[string]*Outcome
}

// Verify tries all twins of a set. The outcomes are in the rules' order.
func Verify(o Options) ([]Outcome, error) {
	if err := o.Set.Sums(); err != nil {
		return nil, err
	}
	outside, err := os.MkdirTemp(filepath.Join(o.Root, "tmp"), "binproxy-verify-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(outside)
	v := verifier{Options: o, outside: outside, inside: "/tmp/" + filepath.Base(outside), outcomes: map[string]*Outcome{}}
	packed := map[string]bool{}
	for _, t := range o.Set.Twins {
		packed[t.Name] = true
	}
	var order []*Outcome
	for _, r := range twin.Rules() {
		wanted := false
		for _, name := range r.Names {
			if packed[name] && !r.Never && (len(o.Names) == 0 || slices.Contains(o.Names, name)) {
				wanted = true
				v.outcomes[name] = &Outcome{Name: name}
				order = append(order, v.outcomes[name])
			}
		}
		for _, script := range r.Try {
			if !wanted {
				break
			}
			if err := v.try(r, script); err != nil {
				return nil, err
			}
		}
	}
	var list []Outcome
	for _, out := range order {
		if out.Tries == 0 && out.Why == "" {
			out.Why = "the guest does not have it, or nothing that is tried calls it"
		}
		list = append(list, *out)
	}
	return list, nil
}

// try runs one script of a rule both ways.
func (v *verifier) try(r *twin.Rule, script string) error {
	with, ran, err := v.run(script, r, v.Set.Dir)
	if err != nil {
		return err
	}
	used := false
	for name, why := range ran {
		out := v.outcomes[name]
		if out == nil || !slices.Contains(r.Names, name) {
			continue
		}
		if why != "" {
			out.Why = why
			continue
		}
		used, out.Why = true, ""
		out.Tries++
	}
	if !used {
		return nil
	}
	without, _, err := v.run(script, r, "off")
	if err != nil {
		return err
	}
	what := with.differs(without)
	for name, why := range ran {
		if out := v.outcomes[name]; what != "" && why == "" && out != nil && slices.Contains(r.Names, name) {
			out.Differs = append(out.Differs, what+": "+script)
		}
	}
	return nil
}

// result is the result of a script.
type result struct {
	stdout, stderr, status string
	files                  map[string]string
}

func (r result) differs(other result) string {
	var list []string
	for _, part := range []struct{ name, a, b string }{
		{"exit status", r.status, other.status}, {"output", r.stdout, other.stdout}, {"error output", r.stderr, other.stderr}} {
		if part.a != part.b {
			list = append(list, fmt.Sprintf("%s %.200q instead of %.200q", part.name, part.a, part.b))
		}
	}
	for name := range r.files {
		if _, ok := other.files[name]; !ok {
			list = append(list, "a file more: "+name)
		}
	}
	for name, text := range other.files {
		if r.files[name] != text {
			list = append(list, "file "+name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// run runs a script in a fresh working directory. ran has the programs with a rule: "" for one
// that ran as twin, else the reason why not.
func (v *verifier) run(script string, r *twin.Rule, twins string) (res result, ran map[string]string, err error) {
	work := filepath.Join(v.outside, "work")
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755), writeSamples(work)); err != nil {
		return res, nil, err
	}
	trace := filepath.Join(v.outside, "trace")
	args := append([]string{"run", "--route", "supervise", "--cwd", v.inside + "/work", "--twins", twins, "--trace", trace}, v.Run...)
	if v.Root != "/" {
		args = append(args, "--root", v.Root)
	}
	if !slices.Contains(r.Names, "dash") {
		args = append(args, "--no-twin", "dash") // the try is not about the shell
	}
	cmd := exec.Command(v.Self, append(args, "--", "/bin/sh", "-c", script)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + v.inside + "/work", "TMPDIR=" + v.inside}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return res, nil, err
	}
	res = result{stdout.String(), stderr.String(), cmd.ProcessState.String(), map[string]string{}}
	if err := res.read(work); err != nil {
		return res, nil, err
	}
	ran, err = readTrace(trace)
	return res, ran, err
}

// read reads the files below a directory.
func (r *result) read(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		text := fi.Mode().String()
		switch {
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(b)
		case fi.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + to
		}
		r.files[name] = text
		return nil
	})
}

// readTrace reads which twins ran, and why others did not.
func readTrace(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var events []struct {
		Args struct {
			Twin string `json:"twin"`
			File string `json:"file"`
			Why  string `json:"no_twin"`
		} `json:"args"`
	}
	if err := json.Unmarshal(text, &events); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ran := map[string]string{}
	for _, e := range events {
		if e.Args.Twin != "" {
			ran[e.Args.Twin] = ""
		}
	}
	for _, e := range events {
		for _, name := range []string{filepath.Base(e.Args.File), "go-" + filepath.Base(e.Args.File)} {
			if _, ok := ran[name]; !ok && e.Args.Why != "" {
				ran[name] = e.Args.Why
			}
		}
	}
	return ran, nil
}
