package packages

import (
	"encoding/binary"
	"errors"
)

// berkeley reads the values of a Berkeley DB hash; their order does not matter. Its numbers have
// the byte order of the machine that made it.
//
// Source: Berkeley DB 5.3, src/dbinc/db_page.h.
type berkeley struct {
	*pages
	order    binary.ByteOrder
	pageSize int
	last     uint32 // the number of the last page
}

var errBerkeley = errors.New("not a hash of Berkeley DB that can be read")

// The types of pages, the types of items on a page of a hash, and the size of a page's header.
const (
	unsortedPage, overflowPage, metaPage, hashPage = 2, 7, 8, 13 // hashes are unsorted before 4.6
	itemHere, itemElsewhere                        = 1, 3
	berkeleyHeader                                 = 26
)

// berkeleyHeaders reads the database of rpm up to 4.15, and of RHEL 8's: package numbers are the
// keys, headers the values. It passes on values that are not headers, too.
func berkeleyHeaders(d *pages, each func(header []byte) bool) error {
	b, err := openBerkeley(d)
	if err != nil {
		return err
	}
	page := make([]byte, b.pageSize)
	for n := int64(1); n <= int64(b.last); n++ {
		// most pages are parts of headers, and are read with these
		if err := b.read(page[:berkeleyHeader], n*int64(b.pageSize)); err != nil {
			return err
		}
		if kind := page[25]; kind != hashPage && kind != unsortedPage {
			continue
		}
		if err := b.read(page, n*int64(b.pageSize)); err != nil {
			return err
		}
		if more, err := b.values(page, each); err != nil || !more {
			return err
		}
	}
	return nil
}

func openBerkeley(d *pages) (*berkeley, error) {
	var meta [72]byte
	if err := d.read(meta[:], 0); err != nil {
		return nil, err
	}
	const magic = 0x61561
	b := &berkeley{pages: d}
	switch {
	case binary.LittleEndian.Uint32(meta[12:]) == magic:
		b.order = binary.LittleEndian
	case binary.BigEndian.Uint32(meta[12:]) == magic:
		b.order = binary.BigEndian
	default:
		return nil, errBerkeley
	}
	size := b.order.Uint32(meta[20:])
	encrypted, kind := meta[24], meta[25]
	if size < 512 || size > 65536 || encrypted != 0 || kind != metaPage {
		return nil, errBerkeley
	}
	b.pageSize, b.last = int(size), b.order.Uint32(meta[32:])
	return b, nil
}

// values calls each with the values on a page: every second item is one. A list of offsets leads
// to the items, which fill the page from its end downwards.
func (b *berkeley) values(page []byte, each func([]byte) bool) (more bool, err error) {
	count := int(b.order.Uint16(page[20:]))
	if berkeleyHeader+2*count > len(page) {
		return false, errBerkeley
	}
	offset := func(i int) int { return int(b.order.Uint16(page[berkeleyHeader+2*i:])) }
	for i := 1; i < count; i += 2 {
		from, to := offset(i), offset(i-1)
		if from >= to || to > len(page) {
			return false, errBerkeley
		}
		item := page[from:to]
		value := item[1:]
		switch {
		case item[0] == itemElsewhere && len(item) >= 12:
			if value, err = b.overflow(b.order.Uint32(item[4:]), b.order.Uint32(item[8:])); err != nil {
				return false, err
			}
		case item[0] != itemHere:
			continue
		}
		if !each(value) {
			return false, nil
		}
	}
	return true, nil
}

// overflow reads a value of that many bytes, which begins on a page of its own.
func (b *berkeley) overflow(number, size uint32) ([]byte, error) {
	value, ok := b.record(uint64(size))
	if !ok {
		return nil, errBerkeley
	}
	page := make([]byte, b.pageSize)
	for len(value) < int(size) {
		if err := b.read(page, int64(number)*int64(b.pageSize)); err != nil {
			return nil, err
		}
		used := int(b.order.Uint16(page[22:]))
		if page[25] != overflowPage || used == 0 || used > b.pageSize-berkeleyHeader {
			return nil, errBerkeley
		}
		value = append(value, page[berkeleyHeader:berkeleyHeader+used]...)
		number = b.order.Uint32(page[16:])
	}
	return value[:size], nil
}
