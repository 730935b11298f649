package dockerfile

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

var options = Options{
	Target: platforms.MustParse("linux/arm64"), Build: platforms.MustParse("linux/amd64"),
	Args: map[string]string{"GIVEN": "given"}, Bundle: "bundle",
}

// Each file in testdata becomes the one beside it, or gives the error there. UPDATE=1 writes them.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.Dockerfile")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".Dockerfile")
		t.Run(filepath.Base(name), func(t *testing.T) {
			text := contents(t, file)
			r, err := Rewrite(text, options)
			got := r.Text
			if err != nil {
				got = []byte("error: " + err.Error() + "\n")
			} else if got = append(got, "\n# for "+strings.Join(slices.Concat(r.Guests, r.Warnings), ", ")+"\n"...); len(r.Guests) > 0 {
				keeps(t, text, r.Text)
			}
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(name+".rewritten", got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := contents(t, name+".rewritten"); !bytes.Equal(got, want) {
				t.Errorf("is\n%s\nand not\n%s", got, want)
			}
		})
	}
}

func contents(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A bundle's name that would need quotes, or be a pattern, is refused.
func TestBundleName(t *testing.T) {
	for name, ok := range map[string]bool{"a/b-c_1.2": true, "": false, "a b": false, "a*": false, "$A": false, "a\nRUN b": false} {
		o := options
		o.Bundle = name
		if _, err := Rewrite([]byte("FROM debian\nRUN true\n"), o); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// An image can have the bundle.
func TestBundleImage(t *testing.T) {
	o := options
	o.Image = "localhost:5000/bundle"
	r, err := Rewrite([]byte("FROM debian\nCOPY . .\nRUN true\n"), o)
	if err != nil || !bytes.Contains(r.Text, []byte("\nCOPY --from=localhost:5000/bundle / /binproxy\n")) || bytes.Contains(r.Text, []byte("ADD")) || r.Warnings != nil {
		t.Errorf("%v %v\n%s", err, r.Warnings, r.Text)
	}
}

// A builder that gives every stage the image's platform has no native stages.
func TestSamePlatform(t *testing.T) {
	o := options
	o.Same = true
	text := []byte("FROM --platform=$BUILDPLATFORM debian\nRUN true\n")
	if r, err := Rewrite(text, o); err != nil || !bytes.Contains(r.Text, []byte("install")) {
		t.Errorf("%v\n%s", err, r.Text)
	}
	if r, err := Rewrite(text, options); err != nil || !bytes.Equal(r.Text, text) {
		t.Errorf("%v\n%s", err, r.Text)
	}
}

// A source of a COPY may have the bundle in it.
func TestCovers(t *testing.T) {
	for source, want := range map[string]bool{
		".": true, "/": true, "./": true, "*": true, "b*": true, "bundle": true, "../bundle": true,
		"src": false, "*.go": false, "bundle.go": false, "[": false, "$SOURCE": false, "https://example.com/": false,
	} {
		if covers(source, "bundle") != want {
			t.Error(source)
		}
	}
	for source, want := range map[string]bool{".": true, "ci": true, "ci/bundle": true, "ci/b?ndle": true, "*": true, "ci/other": false} {
		if covers(source, "ci/bundle") != want {
			t.Error(source)
		}
	}
}

// Nothing panics. What is rewritten parses again, with the same stages and, but for what was
// inserted, the same instructions.
func FuzzRewrite(f *testing.F) {
	files, err := filepath.Glob("testdata/*.Dockerfile")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("/binproxy")) {
			t.Skip("what was inserted could not be told from it")
		}
		if r, err := Rewrite(text, options); err == nil {
			keeps(t, text, r.Text)
		}
	})
}

// keeps compares the stages and the instructions.
func keeps(t *testing.T, before, after []byte) {
	t.Helper()
	was, is := stages(t, before), stages(t, after)
	if len(was) != len(is) {
		t.Fatalf("%d stages, and not %d:\n%s", len(is), len(was), after)
	}
	for i := range was {
		a, b := was[i], is[i]
		if a.Name != b.Name || a.BaseName != b.BaseName || a.Platform != b.Platform {
			t.Errorf("stage %d: %q", i, b.SourceCode)
		}
		if want, got := described(a, false), described(b, true); !slices.Equal(want, got) {
			t.Errorf("stage %d: is\n%q\nand not\n%q\nin\n%s", i, got, want, after)
		}
	}
}

func stages(t *testing.T, text []byte) []instructions.Stage {
	t.Helper()
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return stages
}

// described has what each instruction does. Without what was inserted, no USER and SHELL is left
// that has the effect of the one before.
func described(s instructions.Stage, rewritten bool) []string {
	var all []string
	last := map[string]string{}
	for _, c := range s.Commands {
		text := strings.TrimSpace(c.(interface{ String() string }).String())
		switch c := c.(type) {
		case *instructions.RunCommand:
			text = strings.Join(append(slices.Clone(c.FlagsUsed), strings.Join(c.CmdLine, "|")), "|")
			for _, file := range c.Files {
				text += "|" + file.Name + "|" + file.Data
			}
			if rewritten && !c.PrependShell {
				text = strings.Replace(text, strings.Join(words, "|")+"|", "", 1)
			}
		case *instructions.OnbuildCommand:
			if of := strings.ToUpper(c.Expression); strings.HasPrefix(of, "SHELL") || strings.HasPrefix(of, "USER") {
				continue // may be inserted
			}
			text = "ONBUILD " + strings.Replace(c.Expression, list(words)+", ", "", 1)
		}
		if rewritten && strings.Contains(text, installed) {
			continue // inserted
		}
		switch c.(type) {
		case *instructions.UserCommand, *instructions.ShellCommand:
			last[c.Name()] = text
			continue
		}
		all = append(all, last["user"]+" "+last["shell"]+" "+text)
	}
	return append(all, last["user"]+" "+last["shell"])
}
