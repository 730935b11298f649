package packages

import (
	"encoding/binary"
	"errors"
)

var errNDB = errors.New("not a database of rpm's format ndb that can be read")

// ndbHeaders reads a database of rpm's own format. It has a header of two slots' length; slots up
// to the end of the number of pages in the header, each with the place of a package's blob; and
// the blobs. Numbers are little-endian, places are in units of 16 bytes.
//
// Source: rpm, lib/backend/ndb/rpmpkg.c.
func ndbHeaders(d *pages, each func(header []byte) bool) error {
	const (
		pageSize, slotSize = 4096, 16
		headerSize         = 2 * slotSize
		blobHeader         = 16 // magic, package, generation, bytes
	)
	le := binary.LittleEndian
	var page [pageSize]byte
	if err := d.read(page[:], 0); err != nil {
		return err
	}
	if string(page[:4]) != "RpmP" || le.Uint32(page[4:]) != 0 {
		return errNDB
	}
	count := int64(le.Uint32(page[12:]))
	if count == 0 || count > d.size/pageSize {
		return errNDB
	}
	slots := page[headerSize:]
	for i := int64(0); ; {
		for ; len(slots) > 0; slots = slots[slotSize:] {
			pkg, place, units := le.Uint32(slots[4:]), int64(le.Uint32(slots[8:]))*slotSize, int64(le.Uint32(slots[12:]))
			if string(slots[:4]) != "Slot" {
				return errNDB
			}
			if pkg == 0 {
				continue // free
			}
			var head [blobHeader]byte
			if err := d.read(head[:], place); err != nil {
				return err
			}
			size := le.Uint32(head[12:])
			blob, ok := d.record(uint64(size))
			if !ok || string(head[:4]) != "BlbS" || le.Uint32(head[4:]) != pkg || int64(size) > units*slotSize {
				return errNDB
			}
			blob = blob[:size]
			if err := d.read(blob, place+blobHeader); err != nil {
				return err
			}
			if !each(blob) {
				return nil
			}
		}
		if i++; i == count {
			return nil
		}
		if err := d.read(page[:], i*pageSize); err != nil {
			return err
		}
		slots = page[:]
	}
}
