package binfmt_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/elfinfo/tiny"
)

func TestLine(t *testing.T) {
	e := binfmt.ForABI(arch.Get("aarch64"), "/usr/bin/qemu-aarch64-static", "PF")
	line, err := e.Line()
	require.NoError(t, err)
	assert.Equal(t, ":qemu-aarch64:M:0:"+
		`\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`+":"+
		`\xff\xff\xff\xff\xff\xff\xff\x00`+strings.Repeat(`\x00`, 8)+`\xfe\xff\xff\xff`+":/usr/bin/qemu-aarch64-static:PF", line)
	line, err = binfmt.Entry{Name: "exe", Extension: "exe", Interpreter: "/usr/bin/wine"}.Line()
	require.NoError(t, err)
	assert.Equal(t, ":exe:E::exe::/usr/bin/wine:", line)
}

func TestLineRefuses(t *testing.T) {
	good := binfmt.ForABI(arch.Get("riscv64"), "/qemu", "PF")
	for says, change := range map[string]func(*binfmt.Entry){
		"does not take that name": func(e *binfmt.Entry) { e.Name = "status" },
		"a colon":                 func(e *binfmt.Entry) { e.Interpreter = "/with:colon" },
		"no absolute path":        func(e *binfmt.Entry) { e.Interpreter = "qemu" },
		"has 128 bytes":           func(e *binfmt.Entry) { e.Interpreter = "/" + strings.Repeat("x", 127) },
		"neither magic nor":       func(e *binfmt.Entry) { e.Magic, e.Mask = nil, nil },
		"3 bytes of mask for 20":  func(e *binfmt.Entry) { e.Mask = e.Mask[:3] },
		"reach behind":            func(e *binfmt.Entry) { e.Offset = 250 },
	} {
		e := good
		change(&e)
		_, err := e.Line()
		assert.ErrorContains(t, err, says)
	}
}

// Each entry takes programs of the ABIs that share its emulator, and of no other.
func TestEntriesTellABIsApart(t *testing.T) {
	for _, abi := range binfmt.Foreign() {
		e := binfmt.ForABI(abi, "/qemu", "PF")
		for _, other := range arch.All() {
			assert.Equal(t, abi.QEMU == other.QEMU, e.Matches(tiny.Program(other), ""), "entry of %s, program of %s", abi.Name, other.Name)
			assert.Equal(t, e.Matches(tiny.Program(other), ""), e.Serves(other))
		}
	}
}

// The text of kernels: 6.18, one with more than we know, and an entry by extension.
func TestParse(t *testing.T) {
	e, err := binfmt.Parse("qemu-arm", "enabled\ninterpreter /usr/bin/qemu arm\nflags: OCF\noffset 2\nmagic 7f45\nmask ff0f\n")
	require.NoError(t, err)
	assert.Equal(t, binfmt.Entry{Name: "qemu-arm", Interpreter: "/usr/bin/qemu arm", Flags: "OCF", Offset: 2, Magic: []byte{0x7f, 0x45}, Mask: []byte{0xff, 0x0f}}, e)
	e, err = binfmt.Parse("new", "disabled\ninterpreter /i\nflags: POCFTLD\ncolour blue\noffset 0\nmagic 7f\n")
	require.NoError(t, err)
	assert.Equal(t, binfmt.Entry{Name: "new", Disabled: true, Interpreter: "/i", Flags: "POCFTLD", Magic: []byte{0x7f}}, e)
	e, err = binfmt.Parse("exe", "enabled\ninterpreter /i\nflags: \nextension .exe\n")
	require.NoError(t, err)
	assert.True(t, e.Matches(nil, "setup.exe"))
	assert.False(t, e.Matches(nil, "exe"))
}

// Entries of other programs have other masks and flags, such as Debian's aarch64 and one with a
// narrower mask. Serves reports that both take the programs.
func TestServesWhatOthersMade(t *testing.T) {
	for _, mask := range []string{"ffffffffffffff00fffffffffffffffffeffffff", "ffffffffffffff000000000000000000feffffff", "ffffffff00000000000000000000000000" + "00ffff"} {
		e, err := binfmt.Parse("theirs", "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\noffset 0\n"+
			"magic 7f454c460201010000000000000000000200b700\nmask "+mask+"\n")
		require.NoError(t, err)
		assert.Equal(t, []*arch.ABI{arch.Get("aarch64")}, e.ABIs(), mask)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("enabled\ninterpreter /i\nflags: OCF\noffset 0\nmagic 7f45\nmask ff0f\n")
	f.Add("disabled\nextension .exe\n")
	f.Add("enabled\noffset -1\nmagic 7")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := binfmt.Parse("name", text)
		if err != nil {
			return
		}
		e.ABIs()
		if _, err := e.Line(); err != nil || e.Extension != "" || len(e.Mask) == 0 || e.Disabled {
			return
		}
		again, err := binfmt.Parse("name", fmt.Sprintf("enabled\ninterpreter %s\nflags: %s\noffset %d\nmagic %s\nmask %s\n",
			e.Interpreter, e.Flags, e.Offset, hex.EncodeToString(e.Magic), hex.EncodeToString(e.Mask)))
		if err != nil {
			t.Fatal(err)
		}
		assert.Equal(t, e, again)
	})
}
