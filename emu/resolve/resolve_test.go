package resolve_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"binproxy/emu/arch"
	"binproxy/emu/resolve"
)

// files is an FS in memory: a path to the head of a file, or to an errno.
type files map[string]any

func (f files) Open(path string) (resolve.File, syscall.Errno) {
	switch v := f[path].(type) {
	case string:
		return resolve.File{Path: path, Head: []byte(v)}, 0
	case resolve.File:
		return v, 0
	case syscall.Errno:
		return resolve.File{}, v
	}
	return resolve.File{}, syscall.ENOENT
}

// head is the start of a real header for the ABI.
func head(name string) string {
	magic, _ := arch.Get(name).Magic()
	return string(magic) + strings.Repeat("\x00", 64-len(magic))
}

func guestsOf(names ...string) resolve.Resolver {
	return resolve.Resolver{Guest: func(a *arch.ABI) bool {
		for _, n := range names {
			if a.Name == n {
				return true
			}
		}
		return false
	}}
}

func TestResolve(t *testing.T) {
	fs := files{
		"/bin/arm":      head("aarch64"),
		"/bin/native":   head("x86_64"),
		"/bin/s390":     head("s390x"),
		"/bin/text":     "echo hello\n",
		"/bin/empty":    "",
		"/bin/secret":   syscall.EACCES,
		"/s/arm":        "#!/bin/arm\n",
		"/s/arg":        "#! /bin/arm  -a b \n",
		"/s/native":     "#!/bin/native\n",
		"/s/gone":       "#!/bin/gone\n",
		"/s/secret":     "#!/bin/secret\n",
		"/s/text":       "#!/bin/text\n",
		"/farm/s":       resolve.File{Path: "/real/s", Name: "/real/s", Head: []byte("#!/bin/arm\n")},
		"/farm/arm":     resolve.File{Path: "/bin/.binproxy.arm", Head: []byte(head("aarch64"))},
		"relative/file": head("aarch64"),
		"-dash":         head("aarch64"),
	}
	for i := range 7 {
		fs[fmt.Sprintf("/n/%d", i+1)] = fmt.Sprintf("#!/n/%d -%d\n", i, i+1)
	}
	fs["/n/0"] = head("aarch64")
	fs["/m/6"] = "#!/m/5\n"
	for i := range 5 {
		fs[fmt.Sprintf("/m/%d", i+1)] = fmt.Sprintf("#!/m/%d\n", i)
	}
	for _, c := range []struct {
		path, argv0 string
		want        string // the ABI, the file and the prefix; or the errno's name
	}{
		{"/bin/arm", "x", `aarch64 /bin/arm ["x"]`},
		{"/bin/arm", "", `aarch64 /bin/arm [""]`},
		{"/bin/native", "x", `native /bin/native ["x"]`},
		{"/bin/s390", "x", `native /bin/s390 ["x"]`},
		{"/bin/text", "x", `native /bin/text ["x"]`},
		{"/bin/empty", "x", `native /bin/empty ["x"]`},
		{"/bin/secret", "x", "permission denied"},
		{"/bin/gone", "x", "no such file or directory"},
		{"/s/arm", "x", `aarch64 /bin/arm ["/bin/arm" "/s/arm"]`},
		{"/s/arg", "x", `aarch64 /bin/arm ["/bin/arm" "-a b" "/s/arg"]`},
		{"/s/native", "x", `native /bin/native ["/bin/native" "/s/native"]`},
		{"/s/gone", "x", "no such file or directory"},
		{"/s/secret", "x", "permission denied"},
		{"/s/text", "x", `native /bin/text ["/bin/text" "/s/text"]`},
		{"/farm/s", "x", `aarch64 /bin/arm ["/bin/arm" "/real/s"]`},
		{"/farm/arm", "x", `aarch64 /bin/.binproxy.arm ["x"]`},
		{"/n/5", "x", `aarch64 /n/0 ["/n/0" "-1" "/n/1" "-2" "/n/2" "-3" "/n/3" "-4" "/n/4" "-5" "/n/5"]`},
		{"/n/6", "x", "too many levels of symbolic links"},
		// the sixth interpreter is opened before the depth is counted
		{"/m/6", "x", "no such file or directory"},
	} {
		plan, errno := guestsOf("aarch64").Resolve(fs, resolve.Request{Path: c.path, Argv0: c.argv0})
		got := errno.Error()
		if errno == 0 {
			abi := "native"
			if !plan.Native() {
				abi = plan.ABI.Name
			}
			got = fmt.Sprintf("%s %s %q", abi, plan.File.Path, plan.Prefix)
		}
		assert.Equal(t, c.want, got, c.path)
	}
}
