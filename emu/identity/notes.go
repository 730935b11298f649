package identity

import (
	"bytes"
	"encoding/binary"
)

// The owner and the types of the ELF notes that show the release: the vDSO has both,
// /sys/kernel/notes the second (linux/include/linux/elfnote-lto.h,
// linux/include/linux/build-salt.h).
const (
	noteOwner     = "Linux\x00"
	noteVersion   = 0     // LINUX_VERSION_CODE, 4 bytes
	noteBuildSalt = 0x100 // CONFIG_BUILD_SALT, a string: distributions set it to the release
)

// RewriteNotes changes the ELF notes in b, one after the other, to those of a kernel of the
// release. It moves nothing: a salt that is too short for the release gets its beginning. It
// reports whether anything changed.
func RewriteNotes(b []byte, release string) bool {
	changed := false
	for len(b) >= 12 {
		word := func(i int) int { return int(binary.LittleEndian.Uint32(b[4*i:])) }
		owner, size, kind := word(0), word(1), word(2)
		desc := 12 + (owner+3)&^3
		end := desc + (size+3)&^3
		if owner > len(b) || size > len(b) || desc+size > len(b) {
			return changed
		}
		if string(b[12:12+owner]) == noteOwner && rewriteNote(b[desc:desc+size], kind, release) {
			changed = true
		}
		b = b[min(end, len(b)):]
	}
	return changed
}

func rewriteNote(desc []byte, kind int, release string) bool {
	text := make([]byte, len(desc))
	switch {
	case kind == noteVersion && len(desc) == 4:
		code, ok := versionCode(release)
		if !ok {
			return false
		}
		binary.LittleEndian.PutUint32(text, code)
	case kind == noteBuildSalt && len(desc) > 1:
		copy(text[:len(text)-1], release)
	default:
		return false
	}
	changed := !bytes.Equal(desc, text)
	copy(desc, text)
	return changed
}
