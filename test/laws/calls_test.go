package laws

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// forSys are the functions of the packages unix and syscall that only emu/sys may call. Its
// package comment has the rule.
var forSys = [...]struct {
	names []string
	why   string
}{
	{strings.Fields("Syscall Syscall6 Syscall9 RawSyscall RawSyscall6 SyscallNoError RawSyscallNoError"), "is a call by number"},
	{strings.Fields("Mount Unmount"), "has an errno that says too little"},
	{strings.Fields(`Open Openat Openat2 Creat Read Readv Pread Preadv Write Writev Pwrite Pwritev Sendfile Splice Fsync
		Wait4 Waitid Flock FcntlFlock Poll Ppoll Select Pselect EpollWait Nanosleep
		Accept Accept4 Recvfrom Recvmsg RecvmsgBuffers Send Sendto Sendmsg SendmsgN SendmsgBuffers`),
		"may be interrupted by a signal, and is not in a sys.Retry"},
}

// callsForSys lists a file's calls that belong in emu/sys. A call that may be interrupted is
// allowed in a function for sys.Retry.
func callsForSys(file *ast.File) (offences []string) {
	var within func(retried bool) func(ast.Node) bool
	within = func(retried bool) func(ast.Node) bool {
		return func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if of, name := selected(call.Fun); of == "sys" && name == "Retry" {
				for _, argument := range call.Args {
					ast.Inspect(argument, within(true))
				}
				return false
			}
			of, name := selected(call.Fun)
			for i, row := range forSys {
				interruptible := i == len(forSys)-1
				if (of == "unix" || of == "syscall") && slices.Contains(row.names, name) && !(interruptible && retried) {
					offences = append(offences, of+"."+name+" "+row.why)
				}
			}
			return true
		}
	}
	ast.Inspect(file, within(false))
	return offences
}

// Tests, and programs that are built for them, may call anything.
func TestCallsGoThroughSys(t *testing.T) {
	for _, f := range goFiles(t) {
		if within(f.name, "emu/sys") || within(f.name, "test") || strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		for _, offence := range callsForSys(f.syntax) {
			t.Errorf("%s: %s: see the package comment of emu/sys", f.name, offence)
		}
	}
}

func TestCallsForSys(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`unix.Open("x", 0, 0)`, "unix.Open may be interrupted by a signal, and is not in a sys.Retry"},
		{`if _, err := syscall.Wait4(1, nil, 0, nil); err != nil { return }`, "syscall.Wait4 may be interrupted by a signal, and is not in a sys.Retry"},
		{`_ = sys.Retry(func() error { return unix.Sendto(1, nil, 0, nil) })`, ""},
		{`_ = sys.Retry(func() error { return unix.Mount("", "", "", 0, "") })`, "unix.Mount has an errno that says too little"},
		{`unix.Syscall(unix.SYS_GETPPID, 0, 0, 0)`, "unix.Syscall is a call by number"},
		{`unix.Fstat(1, nil); os.Open("x"); f.Read(nil); unix.Close(1)`, ""},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() {\n"+c.body+"\n}\n", parser.SkipObjectResolution)
		require.NoError(t, err)
		assert.Equal(t, c.want, strings.Join(callsForSys(file), "; "), c.body)
	}
}

// selected splits X.Y, where X is a name.
func selected(e ast.Expr) (of, name string) {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name, s.Sel.Name
		}
	}
	return "", ""
}
