package kernel_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/kernel"
)

// The tables are sorted, name their sources, and do not contradict themselves.
func TestTables(t *testing.T) {
	require.True(t, slices.IsSortedFunc(kernel.ABIs(), func(a, b kernel.ABI) int { return strings.Compare(a.Name, b.Name) }))
	for i := range kernel.ABIs() {
		a := &kernel.ABIs()[i]
		calls := a.Calls()
		require.True(t, slices.IsSortedFunc(calls, func(x, y kernel.Call) int { return int(x.Nr) - int(y.Nr) }), a.Name)
		for _, c := range calls {
			require.NotEmpty(t, c.Source(), c.Name)
			require.Contains(t, a.ByNumber(c.Nr), c)
			require.Contains(t, a.ByName(c.Name), c)
			if last, ok := c.Last(); ok {
				require.LessOrEqual(t, c.First(), last, c.Name)
			}
		}
	}
}

var goarch = map[string]string{"386": "i386", "amd64": "x86_64", "arm": "arm", "arm64": "aarch64", "loong64": "loongarch64", "mips": "mips_o32", "mipsle": "mips_o32",
	"mips64": "mips_n64", "mips64le": "mips_n64", "ppc": "ppc", "ppc64": "ppc64", "ppc64le": "ppc64", "riscv64": "riscv64", "s390x": "s390x", "sparc64": "sparc64"}

// Placeholders in the kernel's own tables, which are not calls.
var placeholder = regexp.MustCompile(`^(arch_specific_syscall|syscall_mask|(unused|reserved)\d+)$`)

// Every number of golang.org/x/sys is in the table of its ABI, under the same name.
func TestNumbersOfXSys(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	require.NoError(t, err)
	constant := regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)`)
	for port, name := range goarch {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+port+".go"))
		require.NoError(t, err)
		found := constant.FindAllStringSubmatch(string(text), -1)
		require.Greater(t, len(found), 250, port)
		for _, m := range found {
			call, nr := strings.ToLower(m[1]), 0
			nr, _ = strconv.Atoi(m[2])
			if placeholder.MatchString(call) {
				continue
			}
			if !slices.ContainsFunc(kernel.Get(name).ByName(call), func(c kernel.Call) bool { return int(c.Nr) == nr }) {
				t.Errorf("%s: %s is not %d, as x/sys has it for %s", name, call, nr, port)
			}
		}
	}
}

func TestOf(t *testing.T) {
	for name, want := range map[string]string{"x86_64": "x86_64", "x32": "x32", "armhf": "arm", "armel": "arm", "mipsel": "mips_o32", "mips64el": "mips_n64", "ppc64le": "ppc64", "riscv64": "riscv64"} {
		require.Equal(t, want, kernel.Of(arch.Get(name)).Name)
	}
	require.Nil(t, kernel.Of(arch.Get("hppa")))
	require.Nil(t, kernel.Of(nil))
	var family []string
	for _, a := range kernel.Family(arch.Get("x86_64")) {
		family = append(family, a.Name)
	}
	require.Equal(t, []string{"x86_64", "x32", "i386"}, family)
}

// A call whose number was wired before it could work has a gate.
func TestGate(t *testing.T) {
	c := kernel.Get("aarch64").ByName("mbind")[0]
	wired, why, ok := c.Gate()
	require.True(t, ok)
	require.Equal(t, "3.7", wired.String())
	require.Contains(t, why, "NUMA")
	require.Equal(t, "4.7", c.Since())
	_, _, ok = kernel.Get("x86_64").ByName("read")[0].Gate()
	require.False(t, ok)
}
