package elfinfo_test

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/emu/loader"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// The reference is Go's debug/elf, on real programs of each class and byte order.
func TestReadAgainstDebugELF(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644))
	for _, goarch := range []string{"amd64", "arm64", "arm", "mips", "s390x"} {
		t.Run(goarch, func(t *testing.T) {
			// the standard library would have to be compiled for them
			if goarch == "mips" || goarch == "s390x" {
				need.Long(t)
			}
			path := filepath.Join(dir, goarch)
			built.Guest(t, goarch, source, path)
			againstDebugELF(t, goarch, path)
		})
	}
}

func againstDebugELF(t *testing.T, goarch, path string) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := elfinfo.Read(f)
	require.NoError(t, err)
	want, err := elf.NewFile(f)
	require.NoError(t, err)
	assert.EqualValues(t, want.Machine, info.Machine)
	assert.EqualValues(t, want.Type, info.Type)
	assert.Equal(t, want.ByteOrder.String() == "BigEndian", info.Big)
	assert.True(t, info.Static())
	var end uint64
	for _, p := range want.Progs {
		if p.Type == elf.PT_LOAD && p.Filesz > 0 {
			end = max(end, p.Off+p.Filesz)
		}
	}
	assert.Equal(t, end, info.End)
	assert.True(t, info.Executable())
	// by its e_flags, Go's arm is armel
	if abi := info.ABI(); assert.NotNil(t, abi) && goarch != "arm" {
		assert.Equal(t, goarch, abi.GOARCH)
	}
}

// A dynamic program names its loader.
func TestInterp(t *testing.T) {
	f, err := os.Open("/bin/ls")
	require.NoError(t, err)
	defer f.Close()
	info, err := elfinfo.Read(f)
	require.NoError(t, err)
	assert.FileExists(t, info.Interp)
	assert.True(t, info.Dynamic)
	assert.Same(t, arch.Host(), info.ABI())
}

// Libraries and notes are those that debug/elf finds, in a program and in a library.
func TestDynamicAgainstDebugELF(t *testing.T) {
	list, err := loader.Libraries("/bin/ls")
	require.NoError(t, err)
	for _, path := range append(list, "/bin/ls") {
		f, err := os.Open(path)
		require.NoError(t, err)
		defer f.Close()
		needed, err := elfinfo.Needed(f)
		require.NoError(t, err, path)
		reference, err := elf.NewFile(f)
		require.NoError(t, err)
		want, err := reference.ImportedLibraries()
		require.NoError(t, err)
		assert.Equal(t, want, needed, path)
		notes, err := elfinfo.Notes(f)
		require.NoError(t, err, path)
		id, err := reference.Section(".note.gnu.build-id").Data()
		require.NoError(t, err)
		assert.True(t, slices.ContainsFunc(notes, func(n elfinfo.Note) bool {
			return n.Name == "GNU" && n.Type == 3 && bytes.Equal(n.Desc, id[len(id)-len(n.Desc):])
		}), path)
	}
}

func TestBroken(t *testing.T) {
	good, err := os.ReadFile("/bin/ls")
	require.NoError(t, err)
	for name, damage := range map[string]func([]byte) []byte{
		"empty":                      func(b []byte) []byte { return nil },
		"text":                       func(b []byte) []byte { return []byte("#!/bin/sh\n") },
		"cut in the header":          func(b []byte) []byte { return b[:40] },
		"class 3":                    func(b []byte) []byte { b[4] = 3; return b },
		"byte order 0":               func(b []byte) []byte { b[5] = 0; return b },
		"headers beyond the end":     func(b []byte) []byte { b[39] = 0x7f; return b },
		"headers of another size":    func(b []byte) []byte { b[54] = 1; return b },
		"65,535 program headers":     func(b []byte) []byte { b[56], b[57] = 0xff, 0xff; return b },
		"cut in the program headers": func(b []byte) []byte { return b[:100] },
	} {
		_, err := elfinfo.Read(bytes.NewReader(damage(bytes.Clone(good))))
		assert.Error(t, err, name)
	}
}

func FuzzRead(f *testing.F) {
	ls, err := os.ReadFile("/bin/ls")
	require.NoError(f, err)
	f.Add(ls[:1024])
	f.Add(append(bytes.Clone(ls[:16]), make([]byte, 64)...))
	f.Add([]byte("\x7fELF\x01\x02\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := elfinfo.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		_, _ = elfinfo.Notes(bytes.NewReader(data))
		_, _ = elfinfo.Needed(bytes.NewReader(data))
		// debug/elf must agree with what we read, where it can read the file, too.
		want, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			return
		}
		if uint16(want.Machine) != info.Machine || uint16(want.Type) != info.Type {
			t.Errorf("machine %d type %d, debug/elf has %d and %d", info.Machine, info.Type, want.Machine, want.Type)
		}
	})
}
