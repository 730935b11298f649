package laws

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// top is the checkout, from this package's directory.
const top = "../.."

// file is one Go file, by its path from top.
type file struct {
	name   string
	text   []byte
	syntax *ast.File
}

// thirdParty is what others wrote, and the laws are not for.
const thirdParty = "third_party/"

// walk calls each with every file of the checkout that belongs to the project.
func walk(t *testing.T, each func(name string, text []byte)) {
	t.Helper()
	walkAll(t, func(name string, text []byte) {
		if !strings.HasPrefix(name, thirdParty) {
			each(name, text)
		}
	})
}

// walkAll calls each with what walk does, and with what others wrote.
func walkAll(t *testing.T, each func(name string, text []byte)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(top), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bundle" || name == "dist"):
			return fs.SkipDir
		case !d.Type().IsRegular() || name == "binproxy" || name == ".git":
			return nil
		}
		text, err := os.ReadFile(filepath.Join(top, name))
		each(name, text)
		return err
	})
	require.NoError(t, err)
}

func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	walk(t, func(name string, text []byte) {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
			return
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file{name, text, syntax})
	})
	require.NotEmpty(t, files)
	return files
}

// Each package has one package comment.
func TestOnePackageComment(t *testing.T) {
	comments := map[string][]string{}
	for _, f := range goFiles(t) {
		if bytes.HasPrefix(f.text, []byte("//go:build ignore\n")) {
			continue // a program of its own
		}
		dir := path.Dir(f.name)
		if _, ok := comments[dir]; !ok {
			comments[dir] = nil
		}
		if f.syntax.Doc != nil && strings.TrimSpace(f.syntax.Doc.Text()) != "" {
			comments[dir] = append(comments[dir], f.name)
		}
	}
	for dir, files := range comments {
		assert.Len(t, files, 1, "the package comment of %s", dir)
	}
}

func TestFilesAreShort(t *testing.T) {
	const most = 600
	for _, f := range goFiles(t) {
		if !ast.IsGenerated(f.syntax) {
			assert.LessOrEqual(t, bytes.Count(f.text, []byte("\n")), most, f.name)
		}
	}
}

// A regular expression compiled at package level costs every start of the program.
func TestNoRegexpAtPackageLevel(t *testing.T) {
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		for _, decl := range f.syntax.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			ast.Inspect(vars, func(n ast.Node) bool {
				if _, ok := n.(*ast.FuncLit); ok {
					return false // it runs only when called
				}
				if call, ok := n.(*ast.SelectorExpr); ok && strings.HasSuffix(call.Sel.Name, "Compile") {
					t.Errorf("%s: a package-level variable calls %s", f.name, call.Sel.Name)
				}
				return true
			})
		}
	}
}

// Nothing names the machine that it was written on, or the host of a mirror or a registry.
func TestNoPlacesNamed(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)\b(` + strings.Join([]string{
		`deb\.debian\.` + `org`, `(archive|ports|security)\.ubuntu\.` + `com`, `proxy\.golang\.` + `org`, `snapshot\.debian\.` + `org`,
		`docker\.` + `io/`, `registry-1\.` + `docker`, `registry\.npmjs`,
	}, "|") + `)|(^|[^\w/.])/wor` + `k/[\w.]`)
	allowed := regexp.MustCompile(`docker\.io/library`)
	walk(t, func(name string, text []byte) {
		if path.Base(name) == "go.sum" {
			return
		}
		for n, line := range bytes.Split(text, []byte("\n")) {
			if m := forbidden.Find(line); m != nil && !allowed.Match(line) {
				t.Errorf("%s:%d names a place: %s", name, n+1, m)
			}
		}
	})
}
