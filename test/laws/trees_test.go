package laws

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// treeRooms write below a directory that somebody else may be able to write to, or whose links are
// somebody else's. What they do there, they do by a descriptor: by package growing, by an os.Root,
// or by a path below sys.FDPath. Where a call takes another path, trusted says why it may. emu/uml
// is not among them: its jail builds in a tmpfs of its own, and the rest runs under the guest's
// kernel.
var treeRooms = strings.Fields("emu/bootstrap emu/bundle emu/container emu/growing emu/oci emu/twin/pack shim/farm")

// takesPath are the functions that open or change what a path leads to. What only looks (stat,
// readlink) can be deceived, and changes nothing.
var takesPath = map[string][]string{
	"os": strings.Fields(`Open OpenFile OpenRoot Create CreateTemp MkdirTemp Mkdir MkdirAll WriteFile Rename Remove RemoveAll
		Link Symlink Chmod Chown Lchown Chtimes Truncate CopyFS`),
	"sys": strings.Fields("Open Bind Mount OwnMount Exchange SetModTime Lock LockFile"),
	"unix": strings.Fields(`Open Creat Mkdir Mknod Mkfifo Rename Link Symlink Unlink Rmdir Chmod Chown Lchown Truncate
		Setxattr Lsetxattr Removexattr Utimes UtimesNano`),
}

const (
	inDraft  = "below the path of a draft, which is a descriptor's; what is in there is ours"
	asNamed  = "the caller's own words are looked up once; what they lead to is looked at afterwards"
	onlyRead = "it is read, as the caller names it"
	inMounts = "a mount in the container's own namespace: led elsewhere, it shows another directory to the container"
	ownPlace = "root's /run/build-container, or the user's own runtime directory"
)

// trusted are the calls by other paths, by room and function.
var trusted = map[string]struct{ calls, why string }{
	"emu/bootstrap job.start":            {"os.WriteFile os.Mkdir os.Chmod", inDraft},
	"emu/bootstrap job.fill":             {"os.Mkdir os.Mkdir os.Chmod", inDraft + ", or mounted where nobody can exchange a name"},
	"emu/bootstrap step.run":             {"os.MkdirAll os.WriteFile", "where the bootstrapper that is to run writes as well, as job.fill has it"},
	"emu/bootstrap job.shelter":          {"sys.Bind", "over a directory that root's alone lead to"},
	"emu/bootstrap settle":               {"os.OpenRoot", inDraft},
	"emu/bootstrap unpackLayers":         {"os.OpenRoot", inDraft},
	"emu/bootstrap unpackImage":          {"os.OpenRoot", onlyRead},
	"emu/bootstrap unpackArchive":        {"os.Open", onlyRead},
	"emu/bootstrap readable":             {"os.Open", onlyRead},
	"emu/bundle Make":                    {"os.MkdirAll", asNamed},
	"emu/bundle MakeBuildKit":            {"os.MkdirAll", asNamed},
	"emu/bundle builder.fill":            {"os.Symlink os.WriteFile", inDraft},
	"emu/bundle builder.twins":           {"os.CopyFS os.Mkdir", inDraft},
	"emu/bundle builder.copy":            {"os.Open", onlyRead},
	"emu/bundle builder.fillFile":        {"os.MkdirAll os.OpenFile", inDraft},
	"emu/bundle builder.extra":           {"os.MkdirAll os.Symlink os.WriteFile", inDraft},
	"emu/bundle builder.settle":          {"os.Chmod sys.SetModTime", inDraft},
	"emu/bundle singleFile.write":        {"os.OpenFile os.Chmod sys.SetModTime", inDraft},
	"emu/container builder.open":         {"os.OpenFile", asNamed},
	"emu/container builder.bindRoot":     {"sys.Bind", inMounts},
	"emu/container builder.mount":        {"os.OpenFile sys.Bind", inMounts + "; where it goes is a descriptor's"},
	"emu/container builder.register":     {"sys.Mount", ownPlace},
	"emu/container builder.coverEntries": {"sys.Mount", inMounts},
	"emu/container mount.make":           {"os.OpenFile os.Mkdir", "below the descriptor of the directory that leads there"},
	"emu/container belongLike":           {"os.Lchown", "as mount.make"},
	"emu/container checkRoot":            {"os.OpenFile", asNamed},
	"emu/container prepare":              {"os.Open", onlyRead},
	"emu/container lookAround":           {"os.Open", "the host's own accounts"},
	"emu/container join":                 {"os.OpenFile", "this program"},
	"emu/container openStore":            {"os.MkdirAll sys.LockFile", ownPlace},
	"emu/container Store.Close":          {"os.Remove os.Remove os.Remove", ownPlace},
	"emu/container Store.put":            {"os.WriteFile os.Rename", ownPlace},
	"emu/container Store.namespaces":     {"os.Open", ownPlace},
	"emu/container Store.emulator":       {"os.Open", ownPlace},
	"emu/container Store.hold":           {"os.Open", "the anchor's /proc"},
	"emu/container Store.pinAll":         {"sys.OwnMount", ownPlace},
	"emu/container pin":                  {"os.OpenFile sys.Mount", ownPlace},
	"emu/container removeIfThere":        {"os.Remove", ownPlace},
	"emu/growing at":                     {"sys.Open", asNamed},
	"emu/growing top":                    {"sys.Open", "the root directory"},
	"emu/growing Dir.Place":              {"os.Rename sys.Exchange os.RemoveAll os.Rename os.RemoveAll", "both are names beside it, by a descriptor"},
	"emu/growing Dir.madeBy":             {"os.Remove", "the name is that of a file made by a descriptor's path"},
	"emu/oci spool":                      {"os.CreateTemp os.Remove", "a directory for temporary files, or a draft"},
	"emu/twin/pack Make":                 {"os.MkdirAll os.Chmod", asNamed + "; " + inDraft},
	"emu/twin/pack packer.copyAll":       {"os.WriteFile", inDraft},
	"emu/twin/pack packer.write":         {"os.MkdirAll os.WriteFile", inDraft},
	"emu/twin/pack packer.copy":          {"os.Open os.MkdirAll os.OpenFile", onlyRead + "; " + inDraft},
	"emu/twin/pack oldestKernel":         {"os.Open", onlyRead},
	"shim/farm open":                     {"sys.Lock", "the bundle, which whoever calls trusts"},
	"shim/farm journal.open":             {"os.OpenFile", "the bundle's, as above"},
	"shim/farm isScript":                 {"os.Open", "as the user who runs it"},
	"shim/farm journal.syncName":         {"os.Open", "the bundle's, as above"},
}

// byPath lists what a file's functions refer to of takesPath, by function, in order. A call with a
// path below sys.FDPath takes none.
func byPath(file *ast.File) map[string][]string {
	found := map[string][]string{}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && belowDescriptor(call) {
				return false
			}
			if s, ok := n.(*ast.SelectorExpr); ok {
				if of, name := selected(s); slices.Contains(takesPath[of], name) {
					found[functionName(f)] = append(found[functionName(f)], of+"."+name)
				}
			}
			return true
		})
	}
	return found
}

// belowDescriptor reports whether the first argument begins with a descriptor's path.
func belowDescriptor(call *ast.CallExpr) bool {
	if len(call.Args) == 0 {
		return false
	}
	first := call.Args[0]
	for {
		sum, ok := first.(*ast.BinaryExpr)
		if !ok {
			break
		}
		first = sum.X
	}
	inner, ok := first.(*ast.CallExpr)
	if !ok {
		return false
	}
	of, name := selected(inner.Fun)
	return of == "sys" && name == "FDPath"
}

// functionName is TYPE.NAME for a method.
func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	return of.(*ast.Ident).Name + "." + f.Name.Name
}

func TestTreesGoByDescriptor(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range goFiles(t) {
		room := path.Dir(f.name)
		if !slices.Contains(treeRooms, room) || strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		for function, calls := range byPath(f.syntax) {
			key := room + " " + function
			seen[key] = true
			assert.Equal(t, trusted[key].calls, strings.Join(calls, " "),
				"%s, %s: goes by a path, where somebody may have exchanged a name: use package growing, an os.Root, or sys.FDPath; or say in trusted why it may", f.name, function)
		}
	}
	for key := range trusted {
		assert.True(t, seen[key], "%s takes no path any more", key)
	}
}

func TestByPath(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`os.Create("x"); os.Lstat("x")`, "os.Create"},
		{`do(os.Rename, a, b)`, "os.Rename"},
		{`os.Mkdir(sys.FDPath(dir) + "/" + name, 0)`, ""},
		{`os.Rename(a, sys.FDPath(dir))`, "os.Rename"},
		{`root.Create("x"); unix.Mknod("x", 0, 0)`, "unix.Mknod"},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc (x *X) f() {\n"+c.body+"\n}\n", parser.SkipObjectResolution)
		require.NoError(t, err)
		assert.Equal(t, c.want, strings.Join(byPath(file)["X.f"], " "), c.body)
	}
}
