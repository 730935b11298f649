package rewrite

import (
	"errors"
	"slices"
	"testing"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

// made is a definition in progress.
type made struct {
	t   *testing.T
	def *pb.Definition
}

func newMade(t *testing.T) made {
	return made{t, &pb.Definition{Metadata: map[string]*pb.OpMetadata{}, Source: &pb.Source{Locations: map[string]*pb.Locations{}}}}
}

// add appends an operation with a name in the progress and a line in the Dockerfile.
func (m made) add(name string, line int32, op *pb.Op, inputs ...string) string {
	m.t.Helper()
	for _, input := range inputs {
		op.Inputs = append(op.Inputs, &pb.Input{Digest: input})
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		m.t.Fatal(err)
	}
	m.def.Def = append(m.def.Def, text)
	sum := digest.FromBytes(text).String()
	if name != "" {
		m.def.Metadata[sum] = &pb.OpMetadata{Description: map[string]string{"llb.customname": name}}
		m.def.Source.Locations[sum] = &pb.Locations{Locations: []*pb.Location{{Ranges: []*pb.Range{{Start: &pb.Position{Line: line}}}}}}
	}
	return sum
}

func image(name, arch string) *pb.Op {
	return &pb.Op{Op: &pb.Op_Source{Source: &pb.SourceOp{Identifier: name}}, Platform: platform(arch)}
}

func command(arch string, args ...string) *pb.Op {
	return &pb.Op{Platform: platform(arch), Op: &pb.Op_Exec{Exec: &pb.ExecOp{
		Meta: &pb.Meta{Args: args}, Mounts: []*pb.Mount{{Dest: "/"}},
	}}}
}

func platform(arch string) *pb.Platform { return &pb.Platform{OS: "linux", Architecture: arch} }

// bundles is the definition of the mounted image.
func bundles(t *testing.T) *pb.Definition {
	m := newMade(t)
	m.add("", 0, &pb.Op{}, m.add("the bundles", 0, image("bundles", "amd64")))
	return m.def
}

// foreign changes the commands of arm64.
func foreign(from *pb.Definition) func(*pb.Platform) (*Change, error) {
	return func(p *pb.Platform) (*Change, error) {
		if p.GetArchitecture() != "arm64" {
			return nil, nil
		}
		return &Change{Words: []string{"/b/binproxy", "run", "--"}, Platform: platform("amd64"),
			Mounts: []Mount{{From: from, Selector: "/bundles/arm64", Directory: "/b"}}}, nil
	}
}

// read returns the operations by their names in the progress, and checks that each comes after its
// inputs and occurs once.
func read(t *testing.T, def *pb.Definition) (named map[string]*pb.Op, lines map[string]int32, texts map[string]string) {
	t.Helper()
	named, lines, texts = map[string]*pb.Op{}, map[string]int32{}, map[string]string{}
	var seen []string
	for _, text := range def.Def {
		op := &pb.Op{}
		if err := proto.Unmarshal(text, op); err != nil {
			t.Fatal(err)
		}
		for _, input := range op.Inputs {
			if !slices.Contains(seen, input.Digest) {
				t.Errorf("%s is not before what it is an input of", input.Digest)
			}
		}
		sum := digest.FromBytes(text).String()
		if slices.Contains(seen, sum) {
			t.Errorf("%s is there twice", sum)
		}
		seen = append(seen, sum)
		name := def.Metadata[sum].GetDescription()["llb.customname"]
		named[name], texts[name] = op, string(text)
		if where := def.Source.GetLocations()[sum]; where != nil {
			lines[name] = where.Locations[0].Ranges[0].Start.Line
		}
	}
	return named, lines, texts
}

// A foreign command is changed, and the operations that depend on it keep their names, lines and
// inputs. Everything else is the same to the last byte.
func TestCommands(t *testing.T) {
	m := newMade(t)
	native := m.add("RUN native", 2, command("amd64", "native"), m.add("FROM native", 1, image("debian", "amd64")))
	first := m.add("RUN first", 4, command("arm64", "/bin/sh", "-c", "first"), m.add("FROM foreign", 3, image("debian", "arm64")))
	copied := m.add("COPY", 5, &pb.Op{Op: &pb.Op_File{File: &pb.FileOp{}}}, first, native)
	m.add("", 0, &pb.Op{}, m.add("RUN second", 6, command("arm64", "second"), copied))
	before, beforeLines, beforeTexts := read(t, m.def)

	def, err := Commands(m.def, foreign(bundles(t)))
	if err != nil {
		t.Fatal(err)
	}
	after, lines, texts := read(t, def)
	if len(after) != len(before)+1 || after["the bundles"] == nil {
		t.Errorf("%d operations, and the bundles, became %d", len(before), len(after))
	}
	for _, name := range []string{"FROM native", "RUN native", "FROM foreign"} {
		if texts[name] != beforeTexts[name] {
			t.Errorf("%s was changed", name)
		}
	}
	for name, line := range beforeLines {
		if lines[name] != line {
			t.Errorf("%s is on line %d, and was on %d", name, lines[name], line)
		}
	}
	for name, want := range map[string][]string{
		"RUN first":  {"/b/binproxy", "run", "--", "/bin/sh", "-c", "first"},
		"RUN second": {"/b/binproxy", "run", "--", "second"},
	} {
		exec := after[name].GetExec()
		if !slices.Equal(exec.Meta.Args, want) {
			t.Errorf("%s: %q", name, exec.Meta.Args)
		}
		if got := after[name].Platform.Architecture; got != "amd64" {
			t.Errorf("%s runs on %s", name, got)
		}
		wanted := &pb.Mount{Input: 1, Output: int64(pb.SkipOutput), Selector: "/bundles/arm64", Dest: "/b", Readonly: true}
		if got := exec.Mounts[len(exec.Mounts)-1]; !proto.Equal(got, wanted) {
			t.Errorf("%s: mount %v", name, got)
		}
		if got := after[name].Inputs[1].Digest; got != digest.FromString(texts["the bundles"]).String() {
			t.Errorf("%s mounts %s", name, got)
		}
	}
	if got, want := after["COPY"].Inputs[0].Digest, digest.FromString(texts["RUN first"]).String(); got != want {
		t.Errorf("COPY is of %s, not of %s", got, want)
	}
	last := &pb.Op{}
	if err := proto.Unmarshal(def.Def[len(def.Def)-1], last); err != nil || last.Op != nil ||
		last.Inputs[0].Digest != digest.FromString(texts["RUN second"]).String() {
		t.Errorf("the definition ends with %v (%v)", last, err)
	}
}

// What is mounted may already be part of the build; then it occurs only once.
func TestCommandsOfItself(t *testing.T) {
	m := newMade(t)
	bundle := m.add("FROM the bundles", 1, image("bundles", "amd64"))
	m.add("", 0, &pb.Op{}, m.add("RUN", 2, command("arm64", "x"), bundle))
	def, err := Commands(m.def, foreign(bundles(t)))
	if err != nil {
		t.Fatal(err)
	}
	named, _, _ := read(t, def)
	if run := named["RUN"]; len(def.Def) != 3 || run.Inputs[1].Digest != bundle {
		t.Errorf("%d operations, %v", len(def.Def), run)
	}
}

// A build without a foreign command is the same to the last byte.
func TestNothingToChange(t *testing.T) {
	m := newMade(t)
	m.add("", 0, &pb.Op{}, m.add("RUN", 2, command("amd64", "x"), m.add("FROM", 1, image("debian", "amd64"))))
	def, err := Commands(m.def, foreign(bundles(t)))
	if err != nil || !proto.Equal(def, m.def) {
		t.Errorf("%v became %v, %v", m.def, def, err)
	}
}

func TestErrors(t *testing.T) {
	m := newMade(t)
	m.add("", 0, &pb.Op{}, m.add("RUN", 2, command("arm64", "x"), m.add("FROM", 1, image("debian", "arm64"))))
	refused := errors.New("no emulator")
	m.def.Source.Infos = []*pb.SourceInfo{{Filename: "Dockerfile"}}
	_, err := Commands(m.def, func(*pb.Platform) (*Change, error) { return nil, refused })
	if at := errdefs.Sources(err); !errors.Is(err, refused) || len(at) != 1 || at[0].Info.Filename != "Dockerfile" || at[0].Ranges[0].Start.Line != 2 {
		t.Errorf("%v at %v", err, at)
	}
	for what, test := range map[string]struct {
		def    *pb.Definition
		change func(*pb.Platform) (*Change, error)
	}{
		"no change":      {m.def, func(*pb.Platform) (*Change, error) { return nil, refused }},
		"empty bundle":   {m.def, foreign(&pb.Definition{})},
		"no input":       {&pb.Definition{Def: m.def.Def[1:]}, foreign(bundles(t))},
		"no such thing":  {&pb.Definition{Def: [][]byte{{0xff}}}, foreign(bundles(t))},
		"broken bundles": {m.def, foreign(&pb.Definition{Def: [][]byte{{0xff}}})},
	} {
		if def, err := Commands(test.def, test.change); err == nil || def != nil {
			t.Errorf("%s: %v, %v", what, def, err)
		}
	}
}
