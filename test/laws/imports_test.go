// Package laws checks rules for the whole repository: which room may import which, what an exec
// may cost, and properties of the program's file.
package laws

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pkg is the output of `go list -json` for a package.
type pkg struct {
	ImportPath, Dir, Doc, Name string
	GoFiles, IgnoredGoFiles    []string
	TestGoFiles, XTestGoFiles  []string
	Imports, Deps              []string
	Standard                   bool
}

// modulePackages lists the packages of the module, tests left out.
func modulePackages(t *testing.T) map[string]pkg {
	t.Helper()
	return list(t, "./...")
}

func list(t *testing.T, patterns ...string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, patterns...)...)
	cmd.Dir = top
	out, err := cmd.Output()
	require.NoError(t, err)
	packages := map[string]pkg{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages[p.ImportPath] = p
	}
}

// room is the part of an import path that the laws use: emu/arch, shim, applets; "" for a package
// that is not ours.
func room(path string) string {
	room, _ := strings.CutPrefix(path, "binproxy/")
	if room == path {
		return ""
	}
	return room
}

func within(room, house string) bool { return room == house || strings.HasPrefix(room, house+"/") }

// A law names the packages that the rooms in from must not import. A failure shows the reason.
type law struct {
	from   string
	forbid func(imported string) bool
	why    string
}

func any(houses ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(houses, func(house string) bool { return within(room(path), house) })
	}
}

func notOnly(allowed ...string) func(string) bool {
	return func(path string) bool { return room(path) != "" && !any(allowed...)(path) }
}

var importLaws = []law{
	{"emu", any("shim", "applets", "scripts", "test"), "the machinery knows nothing of who uses it"},
	{"shim", any("applets", "scripts", "test", "emu/supervise"), "every exec through a farm pays for what a shim imports"},
	{"applets", any("scripts", "test"), "nothing imports scripts, and only tests import test"},
	{"emu/arch", notOnly(), "the lowest room"},
	{"emu/elfinfo", notOnly("emu/arch"), "arch < elfinfo"},
	{"emu/loader", notOnly("emu/elfinfo"), "asks a loader, and nothing of what for: elfinfo < loader"},
	{"emu/identity", notOnly("emu/sys"), "what each field is, and nothing of bundles"},
	{"emu/emulator", notOnly("emu/arch", "emu/elfinfo"), "elfinfo < emulator < config, twin, stack: every exec pays for it"},
	{"emu/config", notOnly("emu/arch", "emu/identity", "emu/emulator"), "identity, emulator < config"},
	{"emu/resolve", notOnly("emu/arch", "emu/elfinfo"), "a pure function, which knows of no emulator: elfinfo < resolve < supervise"},
	{"emu/packages", notOnly("emu/arch", "emu/sys", "third_party/hash"), "what a database says, and nothing of what it is asked for: packages < twin"},
	{"emu/twin", notOnly("emu/arch", "emu/elfinfo", "emu/emulator", "emu/growing", "emu/loader", "emu/packages", "emu/sys", "third_party/hash"), "what a file is, and nothing of how it is executed: twin < supervise"},
	{"emu/seccomp", notOnly("emu/arch"), "a pure function: seccomp < supervise"},
	{"emu/entrypoint", notOnly("emu/exit"), "names and words, and nothing of what the modes run: entrypoint < whoever starts one"},
	{"emu/command", notOnly("emu/elfinfo", "emu/entrypoint", "emu/exit", "emu/sys"), "what every route ends with: elfinfo < command < userns, launch"},
	{"emu/signals", notOnly("emu/sys"), "signals, and nothing of who they are for: signals < userns, supervise"},
	{"emu/userns", notOnly("emu/arch", "emu/binfmt", "emu/command", "emu/entrypoint", "emu/exit", "emu/signals", "emu/sys"), "userns < container, bootstrap, launch"},
	{"emu/apt", notOnly("emu/exit", "emu/sys"), "packages, and nothing of what they are for"},
	{"emu/single", notOnly("emu/arch", "emu/config", "emu/emulator", "emu/exit", "emu/sys"), "a file of parts, and nothing of who puts them in: config < single < bundle"},
	{"emu/supervise/stack", notOnly("emu/emulator", "emu/resolve", "emu/twin"), "a pure function: stack < supervise"},
	{"emu/supervise/tracee", notOnly("emu/seccomp", "emu/sys"), "one stopped thread: tracee < spoof, supervise"},
	{"emu/supervise/sight", notOnly("emu/resolve", "emu/sys"), "files as a tracee sees them, and no tracee: sight < spoof, supervise"},
	{"emu/supervise/spoof", notOnly("emu/identity", "emu/seccomp", "emu/sys", "emu/supervise/sight", "emu/supervise/tracee"),
		"what programs are told: tracee, sight < spoof < launch, supervise"},
	{"emu/supervise/launch", any("emu/supervise/sight", "emu/supervise/stack"), "it knows of no exec: spoof < launch < supervise"},
	{"emu/oci", notOnly("third_party/hash", "third_party/zstd"), "images, and nothing of what they are for: oci < bootstrap, kernel/check"},
	{"emu/runtime", notOnly("emu/entrypoint", "emu/arch", "emu/command", "emu/config", "emu/exit", "emu/resolve", "emu/supervise", "emu/sys"),
		"what a container is, and nothing of how its programs are routed: supervise < runtime"},
	{"emu/growing", notOnly("emu/sys"), "directories, and nothing of what grows in them: growing < bundle, bootstrap, twin/pack"},
	{"emu/sys", notOnly(), "sys < everything that needs the kernel"},
	{"emu/exit", notOnly(), "the statuses are everybody's"},
}

// shimForbidden are packages that cost an exec start-up time or do not belong in a shim.
var shimForbidden = []string{"flag", "net", "net/http", "regexp", "text/template", "encoding/json", "os/user", "log/slog"}

func TestImports(t *testing.T) {
	packages := modulePackages(t)
	require.NotEmpty(t, packages)
	for _, p := range packages {
		for _, l := range importLaws {
			if !within(room(p.ImportPath), l.from) {
				continue
			}
			for _, imported := range p.Imports {
				if l.forbid(imported) && !within(room(imported), l.from) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, l.why)
				}
			}
		}
		if slices.Contains(p.Imports, "unsafe") && room(p.ImportPath) != "emu/sys" {
			t.Errorf("%s imports unsafe: only emu/sys does", p.ImportPath)
		}
		if within(room(p.ImportPath), "scripts") || within(room(p.ImportPath), "test") {
			continue
		}
		for _, imported := range p.Imports {
			assert.False(t, any("scripts", "test")(imported), "%s imports %s", p.ImportPath, imported)
		}
	}
}

// No other room imports the rooms inside emu/supervise.
func TestSupervisorHasOneDoor(t *testing.T) {
	const house = "emu/supervise"
	for _, p := range modulePackages(t) {
		for _, imported := range p.Imports {
			if r := room(imported); within(r, house) && r != house && !within(room(p.ImportPath), house) {
				t.Errorf("%s imports %s: only %s does", p.ImportPath, imported, house)
			}
		}
	}
}

// Of the supervisor's rooms only tracee uses ptrace: the functions of unix and emu/sys for it.
// Waiting for a child is not only for ptrace.
func TestOneRoomKnowsPtrace(t *testing.T) {
	ptrace := map[string]bool{}
	for _, f := range goFiles(t) {
		if path.Dir(f.name) == "emu/sys" && strings.Contains(f.name, "ptrace") || strings.HasSuffix(f.name, "/regset_unsafe.go") {
			for _, d := range f.syntax.Decls {
				if function, ok := d.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.IsExported() {
					ptrace[function.Name.Name] = true
				}
			}
		}
	}
	require.Subset(t, slices.Collect(maps.Keys(ptrace)), []string{"Seize", "Continue", "SetBlocked", "Peek", "RegisterSet", "Wait"})
	delete(ptrace, "Wait")
	for _, f := range goFiles(t) {
		if !within(path.Dir(f.name), "emu/supervise") || path.Dir(f.name) == "emu/supervise/tracee" {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if used, ok := n.(*ast.SelectorExpr); ok {
				of, _ := used.X.(*ast.Ident)
				known := of != nil && (of.Name == "sys" && ptrace[used.Sel.Name] ||
					of.Name == "unix" && strings.HasPrefix(strings.ToLower(used.Sel.Name), "ptrace"))
				assert.False(t, known, "%s uses %s.%s: that is for emu/supervise/tracee", f.name, of, used.Sel.Name)
			}
			return true
		})
	}
}

// Only emu/emulator contains the words of QEMU's dialect, the names of its files and variables,
// and the list of variables that a loader obeys. Prose may contain them, and the hook in C has to.
func TestOneRoomKnowsTheEmulator(t *testing.T) {
	const house = "emu/emulator"
	dialect := map[string]bool{"-L": true, "-U": true, "qemu-": true}
	elsewhere := map[string]bool{
		"emu/binfmt/entry.go qemu-":  true, // an entry's name, as Debian has it
		"emu/twin/headers.go -E":     true, // a compiler's option
		"emu/packages/version.go -r": true, // a revision in one of Alpine's versions
	}
	texts := func(f file, each func(text string)) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				each(text)
			}
			return true
		})
	}
	files := slices.DeleteFunc(goFiles(t), func(f file) bool {
		return strings.HasSuffix(f.name, "_test.go") || within(f.name, "test") || within(f.name, "scripts")
	})
	for _, f := range files {
		if f.name == house+"/dialect.go" || f.name == house+"/variables.go" {
			texts(f, func(text string) { dialect[text] = true })
		}
	}
	require.Subset(t, slices.Collect(maps.Keys(dialect)), []string{"-0", "-r", "-E", "--version", "qemu-*-static", "QEMU_LD_PREFIX", "LD_", "GLIBC_TUNABLES="})
	for _, common := range []string{"", "*", ",", "=", "path", "strings", "binproxy/emu/arch"} {
		delete(dialect, common)
	}
	found := map[string]bool{}
	for _, f := range files {
		if within(path.Dir(f.name), house) {
			continue
		}
		texts(f, func(text string) {
			known := dialect[text] && text != "--version" || strings.HasPrefix(text, "qemu-") && strings.HasSuffix(text, "-static") ||
				strings.TrimSuffix(text, "=") == "QEMU_LD_PREFIX"
			where := f.name + " " + text
			assert.False(t, known && !elsewhere[where], "%s: %q is for %s", f.name, text, house)
			found[where] = true
		})
	}
	for where := range elsewhere {
		assert.True(t, found[where], "%s is no exception any more", where)
	}
}

// An applet's room does not import another applet's.
func TestAppletsAreRoomsOfTheirOwn(t *testing.T) {
	for _, p := range modulePackages(t) {
		own, inApplets := strings.CutPrefix(room(p.ImportPath), "applets/")
		if !inApplets {
			continue
		}
		for _, imported := range p.Imports {
			if other, ok := strings.CutPrefix(room(imported), "applets/"); ok && other != "applet" && !within(other, own) && !within(own, other) {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
	}
}

// These are the packages that a shim links in the end, through all its imports.
func TestShimsAreLight(t *testing.T) {
	for path, p := range modulePackages(t) {
		if !within(room(path), "shim") || within(room(path), "shim/preload") {
			continue
		}
		for _, dep := range p.Deps {
			if slices.Contains(shimForbidden, dep) {
				t.Errorf("%s depends on %s", path, dep)
			}
			if strings.Contains(strings.Split(dep, "/")[0], ".") && !strings.HasPrefix(dep, "golang.org/x/sys/") {
				t.Errorf("%s depends on %s: the standard library and x/sys only", path, dep)
			}
		}
	}
}

// Only files of emu/sys that are named for it use unsafe, tests included.
func TestUnsafeFiles(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, spec := range f.syntax.Imports {
			if spec.Path.Value != `"unsafe"` {
				continue
			}
			named := strings.HasPrefix(f.name, "emu/sys/") && strings.HasSuffix(strings.TrimSuffix(f.name, "_test.go"), "_unsafe.go")
			assert.True(t, named || strings.HasSuffix(f.name, "_test.go"), fmt.Sprintf("%s imports unsafe", f.name))
		}
	}
}
