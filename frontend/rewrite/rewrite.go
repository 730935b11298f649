// Package rewrite changes commands in a definition, the graph that a frontend gives to BuildKit.
//
// A definition is a list of operations. Each is identified by the digest of its own text, which
// contains the digests of its inputs. So an operation that depends on a changed command gets
// another digest, too. The definition's further data about an operation (its name in the progress,
// its place in the Dockerfile) moves to the new digest. Every other operation stays the same to
// the last byte, so its cache stays valid.
package rewrite

import (
	"errors"
	"fmt"
	"slices"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

// A Change says how to change a command.
type Change struct {
	Words    []string     // to put before its arguments
	Mounts   []Mount      // read-only, to add to its own
	Platform *pb.Platform // replaces its platform
}

// A Mount is a directory in the result of another definition.
type Mount struct {
	From      *pb.Definition
	Selector  string // the directory in the result
	Directory string // where it is mounted
}

// Commands returns the definition with its commands changed. It calls change with each command's
// platform, which is nil for the worker's own; a nil result leaves the command as it is. The given
// definition does not change, but the new one shares parts with it.
func Commands(def *pb.Definition, change func(*pb.Platform) (*Change, error)) (*pb.Definition, error) {
	e := editor{
		change: change, ops: map[string]*pb.Op{}, renamed: map[string]string{}, changed: map[string]bool{},
		made: &pb.Definition{Metadata: map[string]*pb.OpMetadata{}}, there: map[string]bool{}, source: def.Source,
	}
	for _, text := range def.Def {
		op := &pb.Op{}
		if err := proto.Unmarshal(text, op); err != nil {
			return nil, fmt.Errorf("an operation of the definition cannot be read: %w", err)
		}
		e.ops[digest.FromBytes(text).String()] = op
	}
	for _, text := range def.Def {
		if err := e.add(digest.FromBytes(text).String(), text); err != nil {
			return nil, err
		}
	}
	e.describe(def)
	return e.made, nil
}

// editor makes a new definition from an old one.
type editor struct {
	change  func(*pb.Platform) (*Change, error)
	ops     map[string]*pb.Op // by their old digests
	renamed map[string]string // old digests to new ones, of the finished operations
	changed map[string]bool   // the new digests of changed commands
	made    *pb.Definition
	there   map[string]bool // the digests in the new definition
	source  *pb.Source      // the old definition's
}

// append appends an operation, unless the new definition has it.
func (e *editor) append(text []byte) (name string, added bool) {
	name = digest.FromBytes(text).String()
	if e.there[name] {
		return name, false
	}
	e.there[name] = true
	e.made.Def = append(e.made.Def, text)
	return name, true
}

// add appends an operation to the new definition. In the old one its inputs come before it.
func (e *editor) add(old string, text []byte) error {
	op := e.ops[old]
	behind := false
	for _, input := range op.Inputs {
		name, ok := e.renamed[input.Digest]
		if !ok {
			return fmt.Errorf("the definition has an operation before its input %s", input.Digest)
		}
		behind = behind || name != input.Digest
		input.Digest = name
	}
	command, err := e.command(op)
	if err != nil {
		return located(err, e.source, old)
	}
	if behind || command {
		if text, err = (proto.MarshalOptions{Deterministic: true}).Marshal(op); err != nil {
			return err
		}
	}
	name, _ := e.append(text)
	e.renamed[old] = name
	e.changed[name] = command
	return nil
}

// located adds to the error the Dockerfile's lines from which an operation comes.
func located(err error, source *pb.Source, operation string) error {
	for _, l := range source.GetLocations()[operation].GetLocations() {
		if i := int(l.SourceIndex); i >= 0 && i < len(source.Infos) {
			err = errdefs.WithSource(err, &errdefs.Source{Info: source.Infos[i], Ranges: l.Ranges})
		}
	}
	return err
}

// command changes the operation, and reports whether it did.
func (e *editor) command(op *pb.Op) (bool, error) {
	exec := op.GetExec()
	if exec == nil || exec.Meta == nil {
		return false, nil
	}
	c, err := e.change(op.Platform)
	if c == nil || err != nil {
		return false, err
	}
	for _, m := range c.Mounts {
		input, err := e.include(m.From)
		if err != nil {
			return false, err
		}
		op.Inputs = append(op.Inputs, input)
		exec.Mounts = append(exec.Mounts, &pb.Mount{
			Input: int64(len(op.Inputs) - 1), Output: int64(pb.SkipOutput),
			Selector: m.Selector, Dest: m.Directory, Readonly: true,
		})
	}
	exec.Meta.Args = slices.Concat(c.Words, exec.Meta.Args)
	op.Platform = c.Platform
	return true, nil
}

// include adds another definition's operations, except the last, which only names the definition's
// result, and returns that.
func (e *editor) include(def *pb.Definition) (*pb.Input, error) {
	last := &pb.Op{}
	if len(def.Def) == 0 || proto.Unmarshal(def.Def[len(def.Def)-1], last) != nil || len(last.Inputs) != 1 {
		return nil, errors.New("the definition of what is to be mounted has no single result")
	}
	for _, text := range def.Def[:len(def.Def)-1] {
		if name, added := e.append(text); added && def.Metadata[name] != nil {
			e.made.Metadata[name] = def.Metadata[name]
		}
	}
	return last.Inputs[0], nil
}

// describe gives the new operations the old definition's data about them.
func (e *editor) describe(def *pb.Definition) {
	for old, name := range e.renamed {
		of, ok := def.Metadata[old]
		if !ok {
			continue
		}
		if e.changed[name] {
			of = of.CloneVT()
			if of.Caps == nil {
				of.Caps = map[string]bool{}
			}
			for _, needed := range []string{string(pb.CapExecMountBind), string(pb.CapExecMountSelector)} {
				of.Caps[needed] = true
			}
		}
		e.made.Metadata[name] = of
	}
	if def.Source == nil {
		return
	}
	e.made.Source = &pb.Source{Infos: def.Source.Infos, Locations: map[string]*pb.Locations{}}
	for old, where := range def.Source.Locations {
		if name, ok := e.renamed[old]; ok {
			e.made.Source.Locations[name] = where
		}
	}
}
