package verify

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// prose is the material of the samples' texts.
const prose = `The quick brown fox jumps over the lazy dog 12 times
and a second line, with numbers 3.14 and 0042
and a second line, with numbers 3.14 and 0042
UPPER lower MiXeD	tabs	and [brackets] (parens)

the last but one: öäü, and a backslash \ here
zzz end
`

// samples are the files for the rules' tries.
func samples() map[string]string {
	var text, data strings.Builder
	for i := range 6 {
		text.WriteString(prose[i*7 : len(prose)-len(prose[:i*3])])
		text.WriteString("\n")
	}
	x := uint32(1)
	for range 1 << 16 {
		x = x*1664525 + 1013904223
		data.WriteByte(byte(x>>24) & 0x3f) // so that some of it can be compressed
	}
	body := text.String()
	first, rest, _ := strings.Cut(body, "\n")
	return map[string]string{
		"text":   body,
		"data":   data.String(),
		"pairs":  "a b\nb c\nd a\nc e\n",
		"change": "--- text\n+++ text\n@@ -1,2 +1,2 @@\n-" + first + "\n+another line\n " + strings.SplitN(rest, "\n", 2)[0] + "\n",
		"hello.c": "#include <stdio.h>\n#include <stddef.h>\n#include <limits.h>\n#include <math.h>\n" +
			"static double f(double x) { return fabs(x * CHAR_MIN) / 3; }\n" +
			"int main(int argc, char **argv) { printf(\"%zu %f %s\\n\", offsetof(struct { char a; long b; }, b), f(argc), argv[argc] ? \"\" : \"hello\"); return 0; }\n",
		"hello.cc": "#include <algorithm>\n#include <iostream>\n#include <map>\n#include <string>\n#include <vector>\n" +
			"int main() { std::map<std::string, std::vector<int>> m; m[\"x\"] = {3, 1, 2}; for (auto &e : m) std::sort(e.second.begin(), e.second.end());\n" +
			"try { m.at(\"y\"); } catch (const std::out_of_range &) { std::cout << m.size() << m[\"x\"][0] << '\\n'; } }\n",
		"goenv": "export HERE=$PWD HOME=$TMPDIR/home GO111MODULE=on GOPROXY=off; trap 'rm -rf \"$HOME\"' EXIT\n" +
			"for d in /usr/local/go/bin /opt/go/bin /usr/lib/go-*/bin; do PATH=$PATH:$d; done\n",
		"p.go":       "package p\n\nfunc F(x float64, y uint64) (float64, uint64) {\n\tif x > 0 {\n\t\tx *= 3\n\t}\n\treturn x + float64(y), y / 7 << 3\n}\n",
		"s.s":        "TEXT ·G(SB), 4, $0-0\n\tRET\n",
		"wrong.go":   "package p\n\nfunc f() int { return \"x\" }\n",
		"mod/go.mod": "module sample\n\ngo 1.17\n", "cgo/go.mod": "module sample\n\ngo 1.17\n",
		"mod/main.go": "package main\n\nfunc g()\n\nfunc main() { g(); println(\"hello\", 1.5*float64(len(\"xy\"))) }\n",
		"mod/g.s":     "TEXT ·g(SB), 4, $0-0\n\tRET\n",
		"cgo/main.go": "package main\n\n// static int twice(int x) { return 2 * x; }\nimport \"C\"\n\nfunc main() { println(C.twice(21)) }\n",
		"wrong.c":     "#include \"nothing.h\"\nint f(int unused) { int x; return y + x; }\n",
	}
}

// writeSamples writes them into a directory.
func writeSamples(dir string) error {
	for name, text := range samples() {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return nil
}
