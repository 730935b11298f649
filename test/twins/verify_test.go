package twins

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/twin"
	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// few is what the short run verifies: a compiler's part, a compressor, text tools.
var few = []string{"as", "xz", "sort", "comm"}

// TestVerify tries every rule in a guest, or a few of them: with a twin, the tries give the same
// bytes as the emulated original.
func TestVerify(t *testing.T) {
	all := guests
	if need.IsEverything() {
		all = slices.Concat(guests, others)
	}
	for _, guest := range all {
		t.Run(guest.port, func(t *testing.T) {
			var names []string
			if guest.port == "arm64" && testing.Short() {
				names = few
			} else {
				need.Long(t)
			}
			need.Emulator(t, guest.qemu)
			need.Program(t, guest.compiler+"-g++", "g++-"+guest.compiler)
			archive, root, twins := lab.Building(t, guest.port), t.TempDir(), filepath.Join(t.TempDir(), "twins")
			out, err := exec.Command("tar", "-C", root, "--numeric-owner", "-xpf", archive).CombinedOutput()
			require.NoError(t, err, string(out))
			out, err = exec.Command(built.Binproxy(t), "twin", "pack", "--for", guest.port, "-o", twins).CombinedOutput()
			require.NoError(t, err, string(out))
			args := append([]string{"twin", "verify", "--root", root, "--twins", twins}, names...)
			said, err := exec.Command(built.Binproxy(t), args...).CombinedOutput()
			require.NoError(t, err, string(said))
			assert.Contains(t, string(said), ", 0 differ,")
			assertSame(t, string(said), names)
			// A differing twin is found: comm's is now join's.
			spoil(t, twins)
			cmd := exec.Command(built.Binproxy(t), "twin", "verify", "--root", root, "--twins", twins, "comm")
			said, err = cmd.CombinedOutput()
			require.Error(t, err)
			assert.Equal(t, 1, cmd.ProcessState.ExitCode(), string(said))
			assert.Contains(t, string(said), "differs   comm\n")
		})
	}
}

// assertSame requires these names to be the same, or most of the existing ones: some, but not the
// compilers, may be of other versions than this host's, or not installed there.
func assertSame(t *testing.T, said string, names []string) {
	t.Helper()
	same := regexp.MustCompile(`(?m)^same +(\S+)$`).FindAllStringSubmatch(said, -1)
	if names == nil {
		names = []string{"cc1", "cc1plus", "collect2", "as", "ld.bfd", "ld.gold", "ar", "ranlib", "nm", "objcopy", "strip"}
		assert.Greater(t, len(same), 60, said)
	}
	for _, name := range names {
		assert.Contains(t, said, "same      "+name+"\n")
	}
}

// spoil puts join in place of comm, with a checksum that matches join.
func spoil(t *testing.T, dir string) {
	t.Helper()
	set, err := twin.Load(dir)
	require.NoError(t, err)
	find := func(name string) *twin.Twin {
		for i := range set.Twins {
			if set.Twins[i].Name == name {
				return &set.Twins[i]
			}
		}
		t.Fatal(name)
		return nil
	}
	comm, join := find("comm"), find("join")
	comm.Size, comm.Sum, comm.Path = join.Size, join.Sum, join.Path
	require.NoError(t, os.WriteFile(filepath.Join(dir, twin.ManifestName), set.Marshal(), 0o644))
}
