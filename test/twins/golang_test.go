package twins

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

const goPackage = "golang-1.19-go"

// goFiles has Debian's Go for a port, unpacked, with the list and the sums of its package.
func goFiles(t *testing.T, port string) string {
	packages := debs.Of(lab.Suite, port, goPackage, "golang-1.19-src")
	f := fixture.Fixture{
		Name: "debs/golang-" + lab.Suite + "-" + port, What: packages.String(), From: packages.From("1"),
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			files, err := packages.Download(ctx, work, held)
			if err != nil {
				return err
			}
			script := `mkdir "$1" && for deb in "$2" "$3"; do dpkg-deb -x "$deb" "$1"; done && dpkg-deb -e "$2" "$1/info"`
			cmd := exec.CommandContext(ctx, "sh", "-ec", script, "-", made, files[0], files[1])
			cmd.ExtraFiles = []*os.File{held}
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			return err
		},
	}
	return f.For(t)
}

// installGo puts Debian's Go into a root: as its package, or as a GOROOT without one.
func installGo(t *testing.T, root, port string, packaged bool) {
	t.Helper()
	files := goFiles(t, port)
	script := `mkdir -p "$2/opt" && cp -a "$1/usr/lib/go-1.19" "$2/opt/go" && rm -f "$2"/opt/go/src "$2"/opt/go/pkg/include &&
cp -a "$1/usr/share/go-1.19/src" "$2/opt/go/" && cp -a "$1/usr/share/go-1.19/pkg/include" "$2/opt/go/pkg/"`
	if packaged {
		script = `cp -a "$1/usr/lib/go-1.19" "$2/usr/lib/" && cp -a "$1/usr/share/go-1.19" "$2/usr/share/" && cd "$1" &&
find usr/lib -printf '/%p\n' >"$2/var/lib/dpkg/info/golang-1.19-go.list" && cp info/md5sums "$2/var/lib/dpkg/info/golang-1.19-go.md5sums"`
		stanza := "\nPackage: " + goPackage + "\nStatus: install ok installed\nArchitecture: " + port + "\n"
		control, err := os.ReadFile(files + "/info/control")
		require.NoError(t, err)
		for line := range strings.Lines(string(control)) {
			if strings.HasPrefix(line, "Version: ") {
				stanza += line
			}
		}
		f, err := os.OpenFile(root+"/var/lib/dpkg/status", os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteString(stanza)
		require.NoError(t, err)
	}
	out, err := exec.Command("sh", "-ec", script, "-", files, root).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// goModule is a program with a package of another module, assembly and C.
var goModule = map[string]string{
	"go.mod":        "module hello\n\ngo 1.18\n\nrequire example.com/dep v1.0.0\n\nreplace example.com/dep => ./dep\n",
	"main.go":       "package main\n\n// #include <math.h>\n// #cgo LDFLAGS: -lm\n// static double third(double x) { return floor(x) / 3; }\nimport \"C\"\n\nimport (\n\t\"encoding/json\"\n\t\"net\"\n\t\"os\"\n\n\t\"example.com/dep\"\n)\n\nfunc main() {\n\t_, err := net.LookupPort(\"tcp\", \"0\")\n\t_ = json.NewEncoder(os.Stdout).Encode([]any{dep.Sum(2, 3.5), float64(C.third(7.5)), err})\n}\n",
	"dep/go.mod":    "module example.com/dep\n\ngo 1.17\n",
	"dep/dep.go":    "package dep\n\nfunc nothing()\n\n// Sum adds.\nfunc Sum(a uint64, b float64) float64 { nothing(); return float64(a/3)*2 + b }\n",
	"dep/nothing.s": "#include \"textflag.h\"\n\nTEXT ·nothing(SB), NOSPLIT, $0-0\n\tRET\n",
	"p/p.go":        "package p\n\nfunc F(x float64, y uint64) (float64, uint64) { return x * float64(y), y / 7 }\n",
}

// goBuild builds it in four ways, and calls tools by hand, one without the go command: there they
// take what is compiled into them.
const goBuild = `set -e
cd /root/hello && rm -rf /root/cache made && mkdir made
export GOCACHE=/root/cache GOPROXY=off
go build -x -o made/hello . 2>/dev/null && made/hello
go build -ldflags=-linkmode=external -o made/external .
CGO_ENABLED=0 go build -trimpath -o made/dep.a example.com/dep
go vet ./... && go tool cover -mode=count -var=x p/p.go
cd p && tools=$(go env GOTOOLDIR)
$tools/compile -p p -o ../made/p.o p.go && $tools/pack c ../made/p.a ../made/p.o && $tools/buildid ../made/p.a
for tool in compile asm link cgo vet; do $tools/$tool -V=full; done
`

// TestGo builds a Go program with and without twins, with the toolchain of Debian's package and
// with one that no package brought. What is built is the same bytes, for GOARM, too.
func TestGo(t *testing.T) {
	for _, guest := range guests {
		t.Run(guest.port, func(t *testing.T) {
			need.Long(t)
			need.Root(t)
			need.Emulator(t, guest.qemu)
			packaged := guest.port == "arm64"
			native, host := t.TempDir(), arch.Host().Debian
			root := lab.Unpack(t, lab.Building(t, guest.port))
			installGo(t, root, guest.port, packaged)
			twins, toolchain := filepath.Join(native, "twins"), "/opt/go"
			pack := exec.Command(built.Binproxy(t), "twin", "pack", "--set", "go="+goFiles(t, host)+"/usr/lib/go-1.19", "-o", twins)
			if packaged {
				native = lab.Unpack(t, lab.Root(t, host))
				installGo(t, native, host, true)
				copyFile(t, built.Binproxy(t), native+"/binproxy")
				pack = exec.Command("chroot", native, "/binproxy", "twin", "pack", "--set", "go", "-o", "/twins")
				twins, toolchain = native+"/twins", "/usr/lib/go-1.19"
			}
			out, err := pack.CombinedOutput()
			require.NoError(t, err, "%s", out)
			for name, text := range goModule {
				path := filepath.Join(root, "root/hello", name)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			}
			files, said := map[string]map[string]string{}, map[string]string{}
			for _, set := range []string{twins, "off"} {
				trace := filepath.Join(native, "trace")
				output, status := run(t, "--twins", set, "--trace", trace, "--root", root, "--", "/bin/sh", "-c", "PATH=$PATH:"+toolchain+"/bin\n"+goBuild)
				require.Zero(t, status, output)
				files[set], said[set] = tree(t, filepath.Join(root, "root/hello/made")), output
				events, err := os.ReadFile(trace)
				require.NoError(t, err)
				for _, tool := range []string{"compile", "asm", "link", "cgo", "vet", "pack", "buildid", "cover"} {
					assert.Equal(t, set == twins, strings.Contains(string(events), `"twin":"go-`+tool+`"`), "%s, twins %s", tool, set)
					assert.NotRegexp(t, `"name":"`+tool+`"[^\n]*"no_twin":"[^n]`, string(events))
				}
			}
			assert.Contains(t, said["off"], "[3.5,2.3333333333333335,null]\n")
			assert.Equal(t, said["off"], said[twins])
			assert.Equal(t, files["off"], files[twins])
			assert.Len(t, files["off"], 6)
		})
	}
}
