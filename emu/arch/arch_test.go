package arch_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
)

func TestParse(t *testing.T) {
	for name, want := range map[string]string{
		"linux/arm64": "aarch64", "arm64": "aarch64", "linux/arm64/v8": "aarch64", "aarch64": "aarch64", "AArch64": "aarch64",
		"aarch64-linux-gnu": "aarch64", "aarch64-unknown-linux-gnu": "aarch64",
		"linux/arm/v7": "armhf", "arm/v7": "armhf", "linux/arm": "armhf", "armhf": "armhf", "armv7l": "armhf", "arm-linux-gnueabihf": "armhf", "arm": "armhf",
		"linux/arm/v6": "armel", "arm/v5": "armel", "armel": "armel", "arm-linux-gnueabi": "armel",
		"linux/386": "i386", "i386": "i386", "i686": "i386", "linux/amd64": "x86_64", "amd64": "x86_64", "x86_64-linux-gnu": "x86_64",
		"ppc64el": "ppc64le", "linux/ppc64le": "ppc64le", "powerpc64le-linux-gnu": "ppc64le", "powerpc": "ppc",
		"s390x": "s390x", "riscv64": "riscv64", "linux/riscv64": "riscv64", "mips64el": "mips64el", "linux/mips64le": "mips64el",
		"linux/amd64/v2": "x86_64", "amd64/v4": "x86_64", "arm64v8": "aarch64", "arm32v7": "armhf", "arm32v6": "armel", "arm32v5": "armel",
		"mipsel": "mipsel", "loong64": "loongarch64", "x32": "x32",
	} {
		abi, err := arch.Parse(name)
		if assert.NoError(t, err, name) {
			assert.Equal(t, want, abi.Name, name)
		}
	}
}

func TestParseUnknown(t *testing.T) {
	for name, nearest := range map[string]string{"arm46": "arm64", "linux/amr64": "amd64", "rsicv64": "riscv64", "ppc65le": "ppc64le"} {
		_, err := arch.Parse(name)
		if assert.Error(t, err, name) {
			first, _, _ := strings.Cut(strings.SplitN(err.Error(), "nearest first: ", 2)[1], " ")
			assert.Equal(t, nearest, first, name)
			assert.Contains(t, err.Error(), fmt.Sprintf("%q", name))
		}
	}
	_, err := arch.Parse("")
	assert.Error(t, err)
}

func TestParseList(t *testing.T) {
	abis, err := arch.ParseList("arm64,armhf,linux/arm64")
	require.NoError(t, err)
	assert.Len(t, abis, 2)
	_, err = arch.ParseList("arm64,,armhf")
	assert.Error(t, err, "an empty name in the list")
}

// Every name leads to its row, and to no other one.
func TestNamesAreUnambiguous(t *testing.T) {
	for _, a := range arch.All() {
		for _, name := range a.Names() {
			got, err := arch.Parse(name)
			if assert.NoError(t, err, name) && name != "arm" {
				assert.Equal(t, a.Name, got.Name, name)
			}
		}
	}
}

// The kernel compares with magic and mask. They have to tell every two rows apart, except for rows
// that share one emulator.
func TestMagicTellsApart(t *testing.T) {
	for _, a := range arch.All() {
		magic, mask := a.Magic()
		require.Equal(t, len(magic), len(mask))
		for i := range magic {
			assert.Equal(t, magic[i], magic[i]&mask[i], "%s: byte %d of the magic is masked out", a.Name, i)
		}
		for _, b := range arch.All() {
			other, otherMask := b.Magic()
			same := true
			for i := range min(len(magic), len(other)) {
				same = same && magic[i]&mask[i]&otherMask[i] == other[i]&mask[i]&otherMask[i]
			}
			if a.QEMU != b.QEMU {
				assert.False(t, same, "%s and %s have the same magic", a.Name, b.Name)
			}
		}
	}
}

// The values of linux/audit.h.
func TestAudit(t *testing.T) {
	for name, want := range map[string]uint32{
		"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "armhf": 0x40000028, "riscv64": 0xC00000F3, "s390x": 0x80000016,
		"ppc64le": 0xC0000015, "mipsel": 0x40000008, "mips64el": 0xC0000008, "mipsn32el": 0xE0000008, "mips": 0x8, "loongarch64": 0xC0000102,
	} {
		assert.Equal(t, want, arch.Get(name).Audit(), name)
	}
}

func TestNative(t *testing.T) {
	x86, i386, arm := arch.Get("x86_64"), arch.Get("i386"), arch.Get("aarch64")
	assert.True(t, x86.Native(x86))
	assert.True(t, i386.Native(x86))
	assert.False(t, x86.Native(i386))
	assert.False(t, arm.Native(x86))
	assert.NotNil(t, arch.Host())
}
