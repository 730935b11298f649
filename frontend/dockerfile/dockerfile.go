// Package dockerfile rewrites Dockerfiles for builders into which binproxy cannot be plugged: the
// Dockerfile itself brings binproxy along, for the commands of foreign stages.
//
// BuildKit's parser reads the file. All of its lines stay as they are and in their order, with the
// comments; only a RUN in exec form gets words before its own. Between the lines, a stage that
// runs something gets
//
//   - before its first RUN: ADD of the bundle;
//   - before its first RUN by the image's own shell: RUN ["/binproxy/binproxy", "install"], after
//     which /bin/sh is routed;
//   - before a RUN by a shell that the file names: the same SHELL with binproxy run in front; and
//     before a CMD or ENTRYPOINT that the shell becomes part of: the SHELL of the file again;
//   - at its end: that SHELL, and RUN ["/binproxy/binproxy", "clean"].
//
// install and clean need root: USER root comes before them, and the file's USER after.
package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options say for what to rewrite.
type Options struct {
	Target ocispecs.Platform // of the image
	Build  ocispecs.Platform // of the machine that builds it
	Same   bool              // every stage has the image's platform, whatever FROM says
	Args   map[string]string // the build arguments
	Bundle string            // the directory of the bundle in the build's context
	Image  string            // an image with only the bundle, instead
}

// A Result is the rewritten file, and what the user should know.
type Result struct {
	Text     []byte
	Guests   []string // the platforms for which the bundle needs emulators
	Warnings []string // of lines that copy the bundle into an image
}

// Rewrite rewrites a Dockerfile. Its errors have the line in front where there is one.
func Rewrite(text []byte, o Options) (Result, error) {
	r, err := rewrite(text, o)
	var where *parser.LocationError
	if errors.As(err, &where) && len(where.Locations) > 0 && len(where.Locations[0]) > 0 {
		err = fmt.Errorf("line %d: %w", where.Locations[0][0].Start.Line, err)
	}
	return r, err
}

func rewrite(text []byte, o Options) (Result, error) {
	o.Target, o.Build = platforms.Normalize(o.Target), platforms.Normalize(o.Build)
	add := "ADD " + o.Bundle + " " + installed
	if o.Image != "" {
		o.Bundle, add = o.Image, "COPY --from="+o.Image+" / "+installed
	}
	if o.Bundle == "" || strings.ContainsAny(o.Bundle, "$\\`*?[]\"'#") || strings.ContainsFunc(o.Bundle, func(r rune) bool { return r <= ' ' }) {
		return Result{}, fmt.Errorf("the bundle's name %q: it must have no spaces and no special characters", o.Bundle)
	}
	f, err := read(text, o)
	if err != nil {
		return Result{}, err
	}
	var r Result
	for _, s := range f.stages {
		if !s.foreign {
			continue
		}
		used, err := f.rewrite(s, add)
		if err != nil {
			return Result{}, err
		}
		if name := platforms.FormatAll(s.platform); used && !slices.Contains(r.Guests, name) {
			r.Guests = append(r.Guests, name)
		}
	}
	if len(r.Guests) > 0 && o.Image == "" {
		r.Warnings = f.copying(o.Bundle)
	}
	r.Text = f.lines.text()
	return r, f.check(r.Text)
}

// rewrite inserts the lines for one stage, and reports whether it uses the bundle.
func (f *file) rewrite(s *stage, add string) (bool, error) {
	now := f.start(s, add)
	s.after = now.clone()
	for _, i := range s.instructions {
		if _, err := s.after.before(i.command); err != nil {
			return false, i.locate(err)
		}
	}
	s.after.cleaned() // what a stage that is FROM this one begins with, but for triggers
	used := false
	for _, i := range s.instructions {
		state, prefix, command := now, "", i.command
		if on, ok := i.command.(*instructions.OnbuildCommand); ok && s.parent {
			// The triggers run at the later stage's FROM, before anything could be inserted there.
			// So they bring the bundle along themselves, and that stage cleans.
			state, prefix = s.after, "ONBUILD "
			var err error
			if command, err = trigger(on, f.escape); err != nil {
				return false, i.locate(err)
			}
		}
		lines, err := state.before(command)
		if err != nil {
			return false, i.locate(err)
		}
		f.lines.insert(i.previous, prefix, lines)
		if run, ok := command.(*instructions.RunCommand); ok && !run.PrependShell && len(run.CmdLine) > 0 {
			if err := f.prefix(i, run); err != nil {
				return false, i.locate(err)
			}
		}
		used = used || state.added
	}
	used = used || now.added // by triggers
	lines, err := now.end()
	if err != nil {
		return false, fmt.Errorf("line %d: %w", s.last(), err)
	}
	f.lines.insert(s.last(), "", lines)
	return used, nil
}

// copying warns of the lines that copy the bundle, which is in the context, into an image.
func (f *file) copying(bundle string) (warnings []string) {
	for _, s := range f.stages {
		for _, i := range s.instructions {
			var sources []string
			switch c := i.command.(type) {
			case *instructions.AddCommand:
				sources = c.SourcePaths
			case *instructions.CopyCommand:
				if c.From == "" {
					sources = c.SourcePaths
				}
			}
			if at := slices.IndexFunc(sources, func(source string) bool { return covers(source, bundle) }); at >= 0 {
				warnings = append(warnings, fmt.Sprintf("line %d: %s %s copies the bundle, too", i.StartLine, strings.ToUpper(i.Value), sources[at]))
			}
		}
	}
	return warnings
}

// covers reports whether a source in the context, which may be a pattern, has the directory in it.
func covers(source, dir string) bool {
	source, dir = path.Clean("/"+source), path.Clean("/"+dir)
	for ; ; dir = path.Dir(dir) {
		if matched, err := path.Match(source, dir); matched && err == nil {
			return true
		}
		if dir == "/" {
			return false
		}
	}
}

// trigger parses the instruction of an ONBUILD.
func trigger(on *instructions.OnbuildCommand, escape rune) (any, error) {
	parsed, err := parser.Parse(strings.NewReader(directive(escape) + on.Expression))
	if err != nil {
		return nil, err
	}
	return instructions.ParseInstruction(parsed.AST.Children[0])
}

// prefix puts binproxy run before the arguments of a RUN in exec form: after the first bracket
// where that gives exactly this command, for BuildKit's parser.
func (f *file) prefix(i instruction, run *instructions.RunCommand) error {
	raw := f.lines.of(i.StartLine, i.EndLine)
	want := slices.Concat(words, run.CmdLine)
	const most = 100 // brackets in flags and comments before it
	for at, tries := 0, 0; tries < most; tries++ {
		next := strings.IndexByte(raw[at:], '[')
		if next < 0 {
			break
		}
		at += next + 1
		changed := raw[:at] + list(words) + ", " + raw[at:]
		parsed, err := parser.Parse(strings.NewReader(directive(f.escape) + changed))
		if err != nil || len(parsed.AST.Children) != 1 {
			continue
		}
		node := parsed.AST.Children[0]
		if strings.EqualFold(node.Value, "onbuild") {
			node = node.Next.Children[0]
		}
		command, err := instructions.ParseInstruction(node)
		if got, ok := command.(*instructions.RunCommand); ok && err == nil && !got.PrependShell &&
			slices.Equal(got.CmdLine, want) && slices.Equal(got.FlagsUsed, run.FlagsUsed) {
			f.lines.replace(i.StartLine, i.EndLine, changed)
			return nil
		}
	}
	return errors.New("RUN: binproxy run cannot be put before its arguments; write them on one line")
}

// check reports an error if an inserted line became part of another instruction.
func (f *file) check(text []byte) error {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("rewritten, it cannot be parsed: %w", err)
	}
	if len(parsed.AST.Children) != f.count+f.lines.inserted {
		return fmt.Errorf("line %d: the last instruction ends as if it went on in a next line; end it", f.last)
	}
	return nil
}
