package images

import (
	"bytes"
	"fmt"
	"strings"
)

// A fuzzer that changes an archive's bytes gets past no header's checksum, and spends a minute on
// making each find of a few KiB smaller. So it gets these: a few bytes from which an archive is
// made, and changes to damage it with.

// Lines reads the entries of an archive, one a line: a name that ends in "/" is a directory, "a ->
// b" a symbolic link, "a => b" a hard link; others are files that contain their own name. It
// leaves out what no archive can express.
func Lines(text string) (entries []Entry) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\x00", "")) {
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			entries = append(entries, Line(line))
		}
	}
	return entries
}

// Line reads one entry.
func Line(line string) Entry {
	if name, to, ok := strings.Cut(line, " -> "); ok && to != "" {
		return Entry{Name: name, SymLink: to}
	}
	if name, to, ok := strings.Cut(line, " => "); ok && to != "" {
		return Entry{Name: name, HardLink: to}
	}
	if strings.HasSuffix(line, "/") {
		return Entry{Name: line}
	}
	return Entry{Name: line, Body: []byte(line)}
}

// Damaged changes bytes of an archive. The first two bytes of each change are the place, the third
// is the new byte. It then corrects the headers' checksums.
func Damaged(archive, changes []byte) []byte {
	archive = bytes.Clone(archive)
	for ; len(changes) >= 3 && len(archive) > 0; changes = changes[3:] {
		archive[(int(changes[0])|int(changes[1])<<8)%len(archive)] = changes[2]
	}
	const block, sumAt, magicAt = 512, 148, 257
	for at := 0; at+block <= len(archive); at += block {
		header := archive[at : at+block]
		if !bytes.HasPrefix(header[magicAt:], []byte("ustar")) {
			continue
		}
		copy(header[sumAt:], "        ")
		sum := 0
		for _, b := range header {
			sum += int(b)
		}
		copy(header[sumAt:], fmt.Sprintf("%06o\x00 ", sum))
	}
	return archive
}
