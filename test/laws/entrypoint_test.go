package laws

import (
	"go/ast"
	"go/token"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each name of a private mode is in emu/entrypoint, and once in the table. No other code has such
// words, or the path by which this program starts itself.
func TestEntrypoints(t *testing.T) {
	const home, table = "emu/entrypoint", "applets/entrypoints.go"
	names, rows := map[string]string{}, map[string]int{} // the names by their constants
	for _, f := range goFiles(t) {
		if path.Dir(f.name) == home && !strings.HasSuffix(f.name, "_test.go") {
			modes(f.syntax, names)
		}
		if f.name == table {
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				e, _ := n.(ast.Expr)
				if of, name := selected(e); of == "entrypoint" && name != "Row" {
					rows[name]++
				}
				return true
			})
		}
	}
	require.Contains(t, names, "Launch")
	require.Len(t, rows, len(names))
	words := map[string]bool{"/proc/self/exe": true}
	for constant, word := range names {
		assert.Equal(t, 1, rows[constant], "%s: rows of entrypoint.%s", table, constant)
		assert.Regexp(t, "^:[a-z]+$", word)
		assert.False(t, words[word], "%s is the name of two modes", word)
		words[word] = true
	}
	for _, f := range goFiles(t) {
		if path.Dir(f.name) == home || strings.HasSuffix(f.name, "_test.go") || within(f.name, "scripts") || within(f.name, "test") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if text, ok := literal(n); ok {
				assert.False(t, words[text], "%s has the word %q: it is %s that starts this program", f.name, text, home)
			}
			if call, ok := n.(*ast.CallExpr); ok {
				of, name := selected(call.Fun)
				assert.False(t, of == "entrypoint" && name == "Name", "%s makes the name of a mode", f.name)
			}
			return true
		})
	}
}

// modes collects the constants of type Name.
func modes(f *ast.File, names map[string]string) {
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Name" {
			names[spec.Names[0].Name], _ = literal(spec.Values[0])
		}
		return false
	})
}

// literal is a string's value.
func literal(n ast.Node) (string, bool) {
	l, ok := n.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}
