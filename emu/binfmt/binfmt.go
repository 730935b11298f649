// Package binfmt writes entries of binfmt_misc: which interpreter the kernel starts for files with a given magic.
//
// A user namespace can have a binfmt_misc of its own (Linux 6.7), whose entries count in it alone.
package binfmt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
)

// Dir is where binfmt_misc is mounted.
const Dir = "/proc/sys/fs/binfmt_misc"

// maxEntry is the longest line that the kernel takes (MAX_REGISTER_LENGTH of fs/binfmt_misc.c).
const maxEntry = 1920

// Entry is the line that registers the emulator at path for programs of the ABI, under the name binproxy-ABI. Flags are those of
// Documentation/admin-guide/binfmt-misc.rst: P keeps argv[0], O hands the program over open, C takes its credentials, F opens the emulator now.
func Entry(abi *arch.ABI, path, flags string) (string, error) {
	magic, mask := abi.Magic()
	line := fmt.Sprintf(":%s:M::%s:%s:%s:%s", Name(abi), escape(magic), escape(mask), path, flags)
	if len(line) > maxEntry || strings.ContainsAny(path, ":\n\x00") {
		return "", fmt.Errorf("binfmt_misc cannot take the emulator's path %q: no colon, and at most %d bytes in all", path, maxEntry)
	}
	return line, nil
}

// Name is what the entry for the ABI is called.
func Name(abi *arch.ABI) string { return "binproxy-" + abi.Name }

// Register writes the entry into the binfmt_misc that is mounted at dir.
func Register(dir string, abi *arch.ABI, path, flags string) error {
	line, err := Entry(abi, path, flags)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "register"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(line); err != nil { // the kernel wants the line in one write
		return fmt.Errorf("register %s: %w", Name(abi), err)
	}
	return nil
}

func escape(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return s.String()
}
