package laws

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/applets"
	"binproxy/applets/applet"
)

// eachFlag calls each with every flag of every applet's commands.
func eachFlag(each func(a *applet.Applet, c *applet.Command, f *flag.Flag)) {
	for _, a := range applets.Table {
		for i := range a.Commands {
			set, _ := a.Declare(&a.Commands[i])
			set.VisitAll(func(f *flag.Flag) { each(a, &a.Commands[i], f) })
		}
	}
}

// dashed is a flag as it is written: --arch, -o.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// shows reports whether a text has the flag, and not only a longer one.
func shows(text, name string) bool {
	return regexp.MustCompile(`(^|[^\w-])` + dashed(name) + `($|[^\w-])`).MatchString(text)
}

// Each flag has a usage, and a name for its value if it takes one. The applet's man page and its
// section of docs/commands.md have the flag.
func TestFlagsAreDocumented(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	cmd := exec.Command("go", "run", "./scripts/man", dir)
	cmd.Dir = top
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	page, err := os.ReadFile(filepath.Join(top, "docs/commands.md"))
	require.NoError(t, err)

	seen := 0
	eachFlag(func(a *applet.Applet, c *applet.Command, f *flag.Flag) {
		seen++
		at := strings.TrimSpace(a.Name+" "+c.Name) + " " + dashed(f.Name)
		value, text := "", f.Usage
		if rest, ok := strings.CutPrefix(f.Usage, "`"); ok {
			value, text, _ = strings.Cut(rest, "` ")
		}
		assert.NotEmpty(t, strings.TrimSpace(text), "%s does not say what it does", at)
		boolean, ok := f.Value.(interface{ IsBoolFlag() bool })
		if !ok || !boolean.IsBoolFlag() {
			assert.NotEmpty(t, value, "%s takes a value that has no name", at)
		}
		manual, err := os.ReadFile(filepath.Join(dir, "binproxy-"+a.Name+".1"))
		require.NoError(t, err)
		assert.True(t, shows(strings.ReplaceAll(string(manual), `\-`, "-"), f.Name), "the man page lacks %s", at)
		_, section, _ := strings.Cut(string(page), "\n## "+a.Name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		assert.True(t, shows(section, f.Name), "docs/commands.md lacks %s: go run ./scripts/man >docs/commands.md", at)
	})
	assert.Greater(t, seen, 80)
}

// takes reports whether a command has the flag; without a command's name, whether any command of
// the applet has it, and without an applet's, any command at all. A command that passes on what it
// does not know takes every flag.
func takes(appletName, command, name string) bool {
	found := name == "help" || name == "h"
	eachFlag(func(a *applet.Applet, c *applet.Command, f *flag.Flag) {
		named := appletName == "" || a.Name == appletName && (command == "" || c.Name == command)
		found = found || named && (f.Name == name || c.Others && appletName != "")
	})
	return found
}

// commandOf gives the applet and the command at the start of words ("" for one without a name) and
// the words after them; no applet if words do not begin with one.
func commandOf(words []string) (a *applet.Applet, command string, rest []string) {
	if len(words) == 0 {
		return nil, "", nil
	}
	a, ok := applets.Find(words[0])
	if !ok {
		return nil, "", nil
	}
	for _, c := range a.Commands {
		name := strings.Fields(c.Name)
		if len(name) > 0 && len(words) > len(name) && slices.Equal(words[1:1+len(name)], name) {
			return a, c.Name, words[1+len(name):]
		}
	}
	return a, "", words[1:]
}

// flagsIn gives the flags in words, up to the point where a command's own arguments or another
// program begin.
func flagsIn(words []string) []string {
	var names []string
	for _, w := range words {
		w = strings.Trim(w, "[](),;:.\"'")
		if w == "--" || w == "|" || w == "&&" || strings.HasPrefix(w, "#") || strings.HasPrefix(w, ">") {
			break
		}
		if m := regexp.MustCompile(`^--?([a-z][a-z0-9-]*)($|[=\[,|])`).FindStringSubmatch(w); m != nil {
			names = append(names, m[1])
		}
	}
	return names
}

// Every flag that the README or a page of docs names, with a command of ours or alone, exists.
func TestNamedFlagsExist(t *testing.T) {
	// Flags of other programs that are named alone.
	others := []string{"version", "custom-platform", "security-opt", "seccomp-profile", "single-snapshot", "squash", "uname-2.6", "build-arg", "target", "call", "pidfile"}
	code := regexp.MustCompile("`([^`\n]+)`")
	calls := regexp.MustCompile(`(?:^|[\s"/(])binproxy"?,? +(.*)$`)
	named := 0
	check := func(where string, words []string) {
		words = strings.Fields(strings.NewReplacer(`",`, " ", `"`, " ").Replace(strings.Join(words, " ")))
		a, command, rest := commandOf(words)
		if a == nil {
			return
		}
		for _, name := range flagsIn(rest) {
			named++
			assert.True(t, takes(a.Name, command, name), "%s: %s %s has no flag %s", where, a.Name, command, dashed(name))
		}
	}
	walk(t, func(page string, text []byte) {
		if page != "README.md" && (!strings.HasPrefix(page, "docs/") || !strings.HasSuffix(page, ".md")) {
			return
		}
		block := false
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "```") {
				block = !block
			}
			if block || strings.HasPrefix(line, "    ") {
				if m := calls.FindStringSubmatch(line); m != nil && !strings.Contains(line, "binproxy: ") {
					check(page, strings.Fields(m[1]))
				}
				continue
			}
			for _, m := range code.FindAllStringSubmatch(line, -1) {
				words := strings.Fields(m[1])
				if c := calls.FindStringSubmatch(m[1]); c != nil {
					check(page, strings.Fields(c[1]))
				} else if words[0] != "env" { // env is coreutils'
					check(page, words)
				}
				if strings.HasPrefix(m[1], "--") {
					for _, name := range flagsIn(words[:1]) {
						named++
						assert.True(t, takes("", "", name) || slices.Contains(others, name), "%s: no command has --%s", page, name)
					}
				}
			}
		}
	})
	assert.Greater(t, named, 100)
}

// A usage line names only flags that its command has.
func TestUsageNamesFlags(t *testing.T) {
	for _, a := range applets.Table {
		for _, c := range a.Commands {
			for _, m := range regexp.MustCompile(`(?:^|[\s\[|])--?([a-z][a-z0-9-]*)`).FindAllStringSubmatch(c.Args, -1) {
				assert.True(t, c.Raw || takes(a.Name, c.Name, m[1]), "%s %s: %s", a.Name, c.Name, m[0])
			}
		}
	}
}
