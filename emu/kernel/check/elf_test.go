package check

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/kernel"
)

// x86_64 code that makes the calls pidfd_open (434) and read (0), and data that only looks like a
// call.
var codeX86 = []byte{0xb8, 0xb2, 0x01, 0, 0, 0x0f, 0x05, 0x90, 0x48, 0xc7, 0xc0, 0x3f, 0, 0, 0, 0x0f, 0x05, 0x41, 0xb8, 0x09, 0, 0, 0, 0x0f, 0x1f, 0x05}

// tiny is a static ELF file of x86_64 with an ABI tag and code.
func tiny(tag [3]uint32, code []byte) []byte {
	const ehdr, phdr = 64, 56
	noteAt := ehdr + 2*phdr
	var note bytes.Buffer
	binary.Write(&note, binary.LittleEndian, []uint32{4, 16, 1})
	note.WriteString("GNU\x00")
	binary.Write(&note, binary.LittleEndian, []uint32{0, tag[0], tag[1], tag[2]})
	codeAt := noteAt + note.Len()
	b := make([]byte, codeAt+len(code))
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint64(b[32:], ehdr)
	le.PutUint16(b[54:], phdr)
	le.PutUint16(b[56:], 2)
	segment := func(at int, kind, flags uint32, offset, size int) {
		le.PutUint32(b[at:], kind)
		le.PutUint32(b[at+4:], flags)
		le.PutUint64(b[at+8:], uint64(offset))
		le.PutUint64(b[at+16:], uint64(0x400000+offset))
		le.PutUint64(b[at+32:], uint64(size))
		le.PutUint64(b[at+48:], 4)
	}
	segment(ehdr, ptNote, 4, noteAt, note.Len())
	segment(ehdr+phdr, ptLoad, 5, codeAt, len(code))
	copy(b[noteAt:], note.Bytes())
	copy(b[codeAt:], code)
	return b
}

func promised(t testing.TB, release string) Kernel {
	t.Helper()
	r, err := kernel.Parse(release)
	require.NoError(t, err)
	return Promised(r)
}

func judgeBytes(t testing.TB, name string, b []byte, release string) []Finding {
	t.Helper()
	c := newCollector()
	require.NoError(t, c.add(name, bytes.NewReader(b), int64(len(b))))
	return c.judge(promised(t, release), Libc{})
}

func TestStaticProgram(t *testing.T) {
	program := tiny([3]uint32{3, 2, 0}, codeX86)
	require.Empty(t, judgeBytes(t, "p", program, "5.3"))
	require.Empty(t, judgeBytes(t, "p", program, "5.14"))
	found := judgeBytes(t, "p", program, "el7")
	require.Len(t, found, 1)
	require.Equal(t, Finding{File: "p", Need: "the call pidfd_open, whose number stands in its code", Call: "pidfd_open", Since: "5.3", Sure: Code, Kind: Unknown,
		Do: found[0].Do, Source: found[0].Source}, found[0])
	found = judgeBytes(t, "p", program, "3.0")
	require.Equal(t, Hard, found[0].Kind)
	require.Equal(t, "Linux 3.2.0 by its .note.ABI-tag", found[0].Need)
}

func TestScan(t *testing.T) {
	require.Equal(t, []uint32{63, 434}, scanX86_64(codeX86))
	require.Empty(t, scanX86_64([]byte{0x0f, 0x05}))
	require.Empty(t, scanX86_64([]byte{0x41, 0xb8, 1, 0, 0, 0, 0x0f, 0x05}), "mov to r8d")
	words := func(list ...uint32) (b []byte) {
		for _, w := range list {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	const movX8, movW8, movX1, svc, nop = 0xd2800008, 0x52800008, 0xd2800001, 0xd4000001, 0xd503201f
	require.Equal(t, []uint32{98, 278, 434}, scanAArch64(words(movX8|434<<5, movX1|1<<5, svc, nop, movW8|278<<5, nop, svc, movX8|98<<5, svc)))
	require.Empty(t, scanAArch64(words(svc, movX8|434<<5)))
}

func TestDamaged(t *testing.T) {
	good := tiny([3]uint32{3, 2, 0}, codeX86)
	for name, damage := range map[string]func(b []byte) []byte{
		"cut in the program headers": func(b []byte) []byte { return b[:100] },
		"note outside":               func(b []byte) []byte { binary.LittleEndian.PutUint64(b[72:], 1<<40); return b },
		"code outside":               func(b []byte) []byte { binary.LittleEndian.PutUint64(b[120+32:], 1<<62); return b },
		"sections outside": func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[40:], 1<<50)
			binary.LittleEndian.PutUint16(b[60:], 3)
			return b
		},
	} {
		found := judgeBytes(t, "p", damage(bytes.Clone(good)), "5.14")
		require.Len(t, found, 1, name)
		require.Equal(t, Unknown, found[0].Kind, name)
		require.Contains(t, found[0].Need, "cannot be read", name)
	}
	require.Empty(t, judgeBytes(t, "text", []byte("#!/bin/sh\n"), "3.10"))
	require.Empty(t, judgeBytes(t, "empty", nil, "3.10"))
}

// The test binary itself is a Go program.
func TestGoProgram(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	found := judgeBytes(t, "self", self, "3.0")
	require.NotEmpty(t, found)
	require.Equal(t, "3.2", found[0].Since)
	require.Equal(t, Hard, found[0].Kind)
	for _, f := range judgeBytes(t, "self", self, "3.2") {
		require.NotContains(t, f.Need, "program of go")
	}
}

func TestVersions(t *testing.T) {
	require.True(t, less("2.9", "2.31"))
	require.True(t, less("2", "2.1"))
	require.False(t, less("2.36", "2.36"))
	require.False(t, less("2.36.1", "2.36"))
	l, err := ParseLibc("glibc-2.31")
	require.NoError(t, err)
	require.Equal(t, Libc{"glibc", "2.31"}, l)
	for _, bad := range []string{"glibc", "2.31", "glibc-", "uclibc-1.0"} {
		_, err := ParseLibc(bad)
		require.ErrorContains(t, err, "--libc "+bad)
	}
}

// A filter poisons a libc that would go on, by refusing a call that it should answer with ENOSYS.
func TestPoisoned(t *testing.T) {
	k := promised(t, "5.14")
	had := k.Answer
	k.Answer = func(c kernel.Call) Answer {
		a := had(c)
		a.Refused = c.Name == "pidfd_open"
		return a
	}
	c := newCollector()
	program := tiny([3]uint32{3, 2, 0}, codeX86)
	require.NoError(t, c.add("p", bytes.NewReader(program), int64(len(program))))
	found := c.judge(k, Libc{})
	require.Len(t, found, 1)
	require.Equal(t, Poisoned, found[0].Kind)
	require.Equal(t, 1, (&Report{Findings: found}).Verdict())

	// The report gives the symptoms of the most frequent refusals.
	k.Answer = func(kernel.Call) Answer { return Answer{Has: true, Refused: true} }
	// clone3 (435), faccessat2 (439)
	for nr, seen := range map[byte]string{0xb3: "GC Thread#0", 0xb7: "make, bash"} {
		c := newCollector()
		program := tiny([3]uint32{3, 2, 0}, []byte{0xb8, nr, 0x01, 0, 0, 0x0f, 0x05})
		require.NoError(t, c.add("p", bytes.NewReader(program), int64(len(program))))
		require.Contains(t, c.judge(k, Libc{})[0].Do, "until then ")
		require.Contains(t, c.judge(k, Libc{})[0].Do, seen)
	}
}

// The cases of kernel.md: systemd's kernel, and glibc since 2.34 under a filter that answers EPERM
// to clone3.
func TestKnownCases(t *testing.T) {
	program := tiny([3]uint32{3, 2, 0}, nil)
	found := judgeBytes(t, "/usr/lib/systemd/systemd", program, "3.14")
	require.Len(t, found, 1)
	require.Equal(t, Known, found[0].Sure)
	require.Equal(t, "3.15", found[0].Since)
	require.Empty(t, judgeBytes(t, "/usr/lib/systemd/systemd", program, "3.15"))
	require.Empty(t, judgeBytes(t, "/opt/systemd", program, "3.14"))

	refusing := promised(t, "5.14")
	had := refusing.Answer
	refusing.Answer = func(c kernel.Call) Answer {
		a := had(c)
		a.Refused = c.Name == "clone3"
		return a
	}
	for version, want := range map[string]int{"2.33": 0, "2.34": 1, "2.36": 1} {
		libcText := tiny([3]uint32{3, 2, 0}, []byte("GNU C Library (made up) stable release version "+version+".\n"))
		c := newCollector()
		require.NoError(t, c.add("/lib/libc.so.6", bytes.NewReader(libcText), int64(len(libcText))))
		found := c.judge(refusing, Libc{})
		require.Len(t, found, want, version)
		if want == 1 {
			require.Equal(t, Poisoned, found[0].Kind)
			require.Contains(t, found[0].Need, "glibc "+version)
		}
		require.Empty(t, c.judge(promised(t, "5.14"), Libc{}))
	}
}

// What a vendor carried back counts for a program of an ABI that the vendor builds no kernel for.
func TestBackports(t *testing.T) {
	for want, nr := range map[string]uint32{"": 278, "pidfd_open": 434} { // 278: getrandom
		var code []byte
		for _, word := range []uint32{0xd2800000 | nr<<5 | 8, 0xd4000001} { // mov x8, #nr; svc #0
			code = binary.LittleEndian.AppendUint32(code, word)
		}
		program := tiny([3]uint32{3, 2, 0}, code)
		binary.LittleEndian.PutUint16(program[18:], 183) // EM_AARCH64
		require.Len(t, judgeBytes(t, "p", program, "3.10"), 1)
		found := judgeBytes(t, "p", program, "3.10.0-1160.71.1.el7.x86_64")
		if want == "" {
			require.Empty(t, found)
		} else {
			require.Equal(t, want, found[0].Call)
		}
	}
}

// A program of an ABI that came later than the release.
func TestPort(t *testing.T) {
	program := tiny([3]uint32{3, 2, 0}, nil)
	binary.LittleEndian.PutUint16(program[18:], 243) // EM_RISCV
	found := judgeBytes(t, "p", program, "3.10")
	require.Len(t, found, 1)
	require.Equal(t, "Linux 4.15, the first for riscv64", found[0].Need)
	require.Empty(t, judgeBytes(t, "p", program, "4.15"))
}

func FuzzELF(f *testing.F) {
	good := tiny([3]uint32{3, 2, 0}, codeX86)
	f.Add(good)
	f.Add(good[:70])
	f.Add([]byte("\x7fELF\x01\x02\x01"))
	if self, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(self)
	}
	k := promised(f, "2.6.32")
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCollector()
		if err := c.add("libc.so.6", bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		if err := c.add("program", bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		c.judge(k, Libc{})
	})
}
