package dockerfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// installed is where the bundle is in a stage.
const installed = "/binproxy"

// words go before the arguments of a command.
var words = []string{installed + "/binproxy", "run", "--"}

// state is what holds at a place in a stage: what the file has said so far, and what was inserted.
type state struct {
	file *file
	add  string // the line that brings the bundle

	environment variables // of ENV lines
	arguments   variables // of ARG lines
	user        *string   // of USER; nil for the base's own, "" for one that is not known
	written     string    // USER's word
	shell       []string  // of SHELL; nil for the base's own

	added     bool // the bundle
	routed    bool // /bin/sh, by install
	prefixing bool // the builder's SHELL has our words in front
}

// start is the state after a stage's FROM.
func (f *file) start(s *stage, add string) *state {
	if s.base == nil {
		return &state{file: f, add: add, environment: variables{}, arguments: variables{}}
	}
	begin := s.base.after.clone()
	begin.arguments = variables{}
	return begin
}

func (s *state) clone() *state {
	c := *s
	c.environment, c.arguments = maps.Clone(s.environment), maps.Clone(s.arguments)
	return &c
}

func (s *state) cleaned() { s.added, s.routed, s.prefixing = false, false, false }

// before gives the lines to insert before a command, and the state after it.
func (s *state) before(command any) (lines []string, err error) {
	switch c := command.(type) {
	case *instructions.RunCommand:
		return s.run(c)
	case *instructions.CmdCommand:
		return s.stored(c.ShellDependantCmdLine), nil
	case *instructions.EntrypointCommand:
		return s.stored(c.ShellDependantCmdLine), nil
	case *instructions.ShellCommand:
		s.shell, s.prefixing = c.Shell, false
	case *instructions.UserCommand:
		user, known, err := s.file.expand(c.User, s.variables())
		if !known || strings.ContainsFunc(user, special) {
			user = ""
		}
		s.user, s.written = &user, c.User
		return nil, err
	case *instructions.ArgCommand:
		return nil, s.file.argue(c, s.arguments, s.file.global)
	case *instructions.EnvCommand:
		return nil, s.set(c)
	}
	return nil, nil
}

// special reports whether a USER line cannot simply repeat a name with this character.
func special(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_.@:-", r))
}

// variables are what a command's words can use. ENV hides ARG.
func (s *state) variables() variables {
	v := maps.Clone(s.arguments)
	maps.Copy(v, s.environment)
	return v
}

// set sets the variables of an ENV line, all with the values from before it.
func (s *state) set(c *instructions.EnvCommand) error {
	before := s.variables()
	for _, pair := range c.Env {
		value, known, err := s.file.expand(pair.Value, before)
		if err != nil {
			return err
		}
		if delete(s.environment, pair.Key); known {
			s.environment[pair.Key] = value
			continue
		}
		delete(s.arguments, pair.Key) // ENV hides it with what is not known
	}
	return nil
}

// run gives what a RUN needs before it.
func (s *state) run(c *instructions.RunCommand) (lines []string, err error) {
	if !s.added {
		lines, s.added = []string{s.add}, true
	}
	switch {
	case !c.PrependShell, s.prefixing:
	case s.shell == nil && !s.routed:
		s.routed = true
		install, err := s.asRoot("install")
		return append(lines, install...), err
	case s.shell != nil && !(s.routed && s.shell[0] == "/bin/sh"):
		s.prefixing = true
		lines = append(lines, shellLine(slices.Concat(words, s.shell)))
	}
	return lines, nil
}

// stored gives what must come before a command that goes into the image's configuration together
// with its shell.
func (s *state) stored(c instructions.ShellDependantCmdLine) []string {
	if c.PrependShell {
		return s.ownShell()
	}
	return nil
}

// ownShell gives the line that makes the file's SHELL the builder's again.
func (s *state) ownShell() []string {
	if !s.prefixing {
		return nil
	}
	s.prefixing = false
	return []string{shellLine(s.shell)}
}

// end gives the lines at the end of the stage.
func (s *state) end() ([]string, error) {
	if !s.added {
		return nil, nil
	}
	lines := s.ownShell()
	clean, err := s.asRoot("clean")
	s.cleaned()
	return append(lines, clean...), err
}

// asRoot runs an applet as root. Without a USER in the file it is the base's user, who has to be
// root, since nothing could name the user again.
func (s *state) asRoot(applet string) ([]string, error) {
	run := "RUN [" + list([]string{words[0], applet}) + "]"
	if s.user == nil {
		return []string{run}, nil
	}
	if *s.user == "" {
		return nil, fmt.Errorf("USER %s: its value is not in the Dockerfile, and binproxy %s needs root and then that user again; "+
			"write the name out, or name the value with --build-arg", s.written, applet)
	}
	if name, _, _ := strings.Cut(*s.user, ":"); name == "root" || name == "0" {
		return []string{run}, nil
	}
	return []string{"USER root", run, "USER " + *s.user}, nil
}

func shellLine(shell []string) string { return "SHELL [" + list(shell) + "]" }

// list is the inside of a JSON array of strings.
func list(words []string) string {
	var quoted []string
	for _, word := range words {
		text, _ := json.Marshal(word) // strings always can be
		quoted = append(quoted, string(text))
	}
	return strings.Join(quoted, ", ")
}

// directive is the first line of a Dockerfile with this escape character.
func directive(escape rune) string {
	if escape == '`' {
		return "# escape=`\n"
	}
	return ""
}
