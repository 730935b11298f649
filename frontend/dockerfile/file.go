package dockerfile

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"binproxy/frontend/platform"
)

// file is a parsed Dockerfile.
type file struct {
	options Options
	escape  rune
	lex     *shell.Lex
	global  variables // what FROM lines see
	stages  []*stage
	lines   *lines
	count   int // of instructions
	last    int // the line of the last instruction
}

// A stage is a FROM and the instructions after it.
type stage struct {
	name         string
	from         int    // the last line of the FROM
	base         *stage // nil if that is an image
	parent       bool   // it is the base of another stage
	platform     ocispecs.Platform
	foreign      bool
	instructions []instruction
	after        *state // at its end; with its triggers, once it is rewritten
}

// last is the last line of the stage.
func (s *stage) last() int {
	if n := len(s.instructions); n > 0 {
		return s.instructions[n-1].EndLine
	}
	return s.from
}

// An instruction is a node of the parser and what it means (a type of package instructions).
type instruction struct {
	*parser.Node
	command  any
	previous int // the last line of the one before
}

func (i instruction) locate(err error) error { return parser.WithLocation(err, i.Location()) }

// variables are those with known values.
type variables map[string]string

// Get and Keys make variables what BuildKit's lexer takes.
func (v variables) Get(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

func (v variables) Keys() []string { return slices.Sorted(maps.Keys(v)) }

func read(text []byte, o Options) (*file, error) {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if _, _, err := instructions.Parse(parsed.AST, nil); err != nil {
		return nil, err
	}
	f := &file{options: o, escape: parsed.EscapeToken, lex: shell.NewLex(parsed.EscapeToken),
		lines: newLines(text), count: len(parsed.AST.Children)}
	f.global = f.predefined()
	for _, node := range parsed.AST.Children {
		command, err := instructions.ParseInstruction(node)
		if err != nil {
			return nil, err
		}
		i := instruction{node, command, f.last}
		if err := f.add(i); err != nil {
			return nil, i.locate(err)
		}
		f.last = node.EndLine
	}
	return f, nil
}

// add adds an instruction to the last stage, or begins one.
func (f *file) add(i instruction) error {
	switch c := i.command.(type) {
	case *instructions.Stage:
		return f.begin(i, c)
	case *instructions.ArgCommand:
		if len(f.stages) == 0 {
			return f.argue(c, f.global, nil)
		}
	}
	s := f.stages[len(f.stages)-1] // instructions.Parse refuses others without a stage
	s.instructions = append(s.instructions, i)
	return nil
}

// begin begins a stage. A stage that is FROM another one has its platform, as with BuildKit.
func (f *file) begin(i instruction, c *instructions.Stage) error {
	s := &stage{name: c.Name, from: i.EndLine, platform: f.options.Target}
	base, _, err := f.expand(c.BaseName, f.global)
	if err != nil {
		return err
	}
	for _, earlier := range f.stages {
		if earlier.name != "" && strings.EqualFold(earlier.name, base) {
			s.base = earlier
		}
	}
	if c.Platform != "" && !f.options.Same {
		named, _, err := f.expand(c.Platform, f.global)
		if err != nil {
			return err
		}
		if named == "" {
			return fmt.Errorf("FROM --platform=%s is empty; name its value with --build-arg", c.Platform)
		}
		if s.platform, err = platforms.Parse(named); err != nil {
			return err
		}
	}
	if s.base != nil {
		s.base.parent, s.platform = true, s.base.platform
	}
	s.platform = platforms.Normalize(s.platform)
	s.foreign = platform.Foreign(f.options.Build, s.platform)
	f.stages = append(f.stages, s)
	return nil
}

// expand replaces the variables in a word, and reports whether all are known.
func (f *file) expand(word string, v variables) (string, bool, error) {
	r, err := f.lex.ProcessWordWithMatches(word, v)
	return r.Result, len(r.Unmatched) == 0, err
}

// argue sets the variables of an ARG: to the build argument of that name, to the default, or to
// what inherited has.
func (f *file) argue(c *instructions.ArgCommand, v, inherited variables) error {
	for _, arg := range c.Args {
		given, ok := f.options.Args[arg.Key]
		if !ok && arg.Value != nil {
			var err error
			if given, ok, err = f.expand(*arg.Value, v); err != nil {
				return err
			}
		} else if !ok {
			given, ok = inherited.Get(arg.Key)
		}
		if ok {
			v[arg.Key] = given
		}
	}
	return nil
}

// predefined are the variables that BuildKit defines for FROM lines.
func (f *file) predefined() variables {
	v := variables{}
	for prefix, p := range map[string]ocispecs.Platform{"TARGET": f.options.Target, "BUILD": f.options.Build} {
		v[prefix+"PLATFORM"], v[prefix+"OS"] = platforms.FormatAll(p), p.OS
		v[prefix+"ARCH"], v[prefix+"VARIANT"] = p.Architecture, p.Variant
	}
	for name := range v {
		if given, ok := f.options.Args[name]; ok {
			v[name] = given
		}
	}
	return v
}
