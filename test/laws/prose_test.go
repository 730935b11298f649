package laws

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// column is where a line of prose must have ended; a tab counts as four.
const column = 100

// A comment and a line of the documents end before column 100, except for what cannot be broken:
// one long word, a table, a block of code. Generated files and test data are exempt.
func TestProseIsNarrow(t *testing.T) {
	walk(t, func(name string, text []byte) {
		var wide []int
		switch {
		case strings.Contains(name, "testdata/"), strings.HasPrefix(path.Base(name), "z_"):
		case strings.HasSuffix(name, ".go"):
			wide = wideGo(t, name, text)
		case strings.HasSuffix(name, ".md"):
			wide = wideMarkdown(string(text))
		case strings.HasSuffix(name, ".c"), strings.HasSuffix(name, ".h"), strings.HasSuffix(name, ".s"):
			wide = wideLines(string(text), "//")
		case strings.HasPrefix(string(text), "#!/"):
			wide = wideLines(string(text), "#")
		}
		for _, n := range wide {
			t.Errorf("%s:%d: prose beyond column %d", name, n, column-1)
		}
	})
}

// wideGo gives the numbers of the lines whose // comment is too wide.
func wideGo(t *testing.T, name string, text []byte) []int {
	files := token.NewFileSet()
	syntax, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	var wide []int
	each := func(c *ast.Comment) {
		n := files.Position(c.Pos()).Line
		if strings.HasPrefix(c.Text, "// ") && isWide(lines[n-1], c.Text) {
			wide = append(wide, n)
		}
	}
	for _, group := range syntax.Comments {
		for _, c := range group.List {
			each(c)
		}
	}
	return wide
}

func wideLines(text, mark string) []int {
	var wide []int
	for n, line := range strings.Split(text, "\n") {
		if prose := strings.TrimSpace(line); strings.HasPrefix(prose, mark+" ") && isWide(line, prose) {
			wide = append(wide, n+1)
		}
	}
	return wide
}

// verbatim matches lines of Markdown that stay as they are: rows of tables, and indented code.
var verbatim = regexp.MustCompile(`^(\s*\||\s*<|    )`)

func wideMarkdown(text string) []int {
	var wide []int
	fenced := false
	for n, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if !fenced && !verbatim.MatchString(line) && isWide(line, strings.TrimSpace(line)) {
			wide = append(wide, n+1)
		}
	}
	return wide
}

// isWide reports whether a line goes beyond the column for another reason than one long word.
func isWide(line, prose string) bool {
	if utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")) < column {
		return false
	}
	return !slices.ContainsFunc(strings.Fields(prose), func(word string) bool {
		return utf8.RuneCountInString(word) > column*2/3
	})
}

func TestProseLawHolds(t *testing.T) {
	long := strings.Repeat("word ", 25)
	require.Equal(t, []int{3}, wideGo(t, "x.go", []byte("package x\n\n// "+long+"\n")))
	require.Equal(t, []int{3}, wideGo(t, "x.go", []byte("package x\n\nvar x = 1 // "+long+"\n")))
	require.Equal(t, []int{1}, wideMarkdown(long))
	require.Empty(t, wideMarkdown("| "+long+"\n```\n"+long+"\n```\n    "+long))
	require.Empty(t, wideLines("# https://"+strings.Repeat("x", 120), "#"))
	require.Equal(t, []int{1}, wideLines("# "+long, "#"))
}
