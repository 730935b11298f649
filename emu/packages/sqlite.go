package packages

import (
	"encoding/binary"
	"errors"
)

// sqlite reads the records of one table from a database file of SQLite 3; their order does not
// matter. It does not see what is only in a write-ahead log, as while a package is being
// installed.
//
// Source: "Database File Format", sqlite.org.
type sqlite struct {
	*pages
	pageSize int // bytes of a page
	usable   int // those of them that are used
}

var errSQLite = errors.New("not a database of SQLite 3 that can be read")

const (
	leafTable, interiorTable   = 13, 5
	leafHeader, interiorHeader = 8, 12
	maxDepth                   = 20
)

// sqliteHeaders reads the database of rpm since 4.16: the second column of the table Packages.
func sqliteHeaders(d *pages, each func(header []byte) bool) error {
	s, err := openSQLite(d)
	if err != nil {
		return err
	}
	return s.table("Packages", func(record []byte) bool {
		columns := parseRecord(record)
		return len(columns) < 2 || each(columns[1])
	})
}

func openSQLite(d *pages) (*sqlite, error) {
	var head [100]byte
	if err := d.read(head[:], 0); err != nil || string(head[:16]) != "SQLite format 3\x00" {
		return nil, errSQLite
	}
	s := &sqlite{pages: d, pageSize: int(binary.BigEndian.Uint16(head[16:]))}
	if s.pageSize == 1 {
		s.pageSize = 65536
	}
	s.usable = s.pageSize - int(head[20])
	if s.pageSize < 512 || s.usable < 480 {
		return nil, errSQLite
	}
	return s, nil
}

// table calls each with the record of every row of the table, until each returns false.
func (d *sqlite) table(name string, each func(record []byte) bool) error {
	root := 0
	// The table of tables: type, name, tbl_name, rootpage, sql.
	err := d.walk(1, 0, func(record []byte) bool {
		columns := parseRecord(record)
		if len(columns) >= 4 && string(columns[0]) == "table" && string(columns[1]) == name {
			root = int(integer(columns[3]))
		}
		return root == 0
	})
	if err == nil && root == 0 {
		err = errors.New("it has no table " + name)
	}
	if err != nil {
		return err
	}
	return d.walk(root, 0, each)
}

var errEnough = errors.New("enough")

// walk visits the records below a page.
func (d *sqlite) walk(number, depth int, each func([]byte) bool) error {
	err := d.visit(number, depth, each)
	if depth == 0 && err == errEnough {
		return nil
	}
	return err
}

func (d *sqlite) visit(number, depth int, each func([]byte) bool) error {
	if depth > maxDepth {
		return errCircle
	}
	page, err := d.numbered(number)
	if err != nil {
		return err
	}
	at := 0
	if number == 1 {
		at = 100
	}
	kind, cells := page[at], int(binary.BigEndian.Uint16(page[at+3:]))
	header := leafHeader
	if kind == interiorTable {
		header = interiorHeader
	} else if kind != leafTable {
		return errSQLite
	}
	if at+header+2*cells > len(page) {
		return errSQLite
	}
	for i := range cells {
		cell := int(binary.BigEndian.Uint16(page[at+header+2*i:]))
		if cell+4 > len(page) {
			return errSQLite
		}
		if kind == interiorTable {
			if err := d.visit(int(binary.BigEndian.Uint32(page[cell:])), depth+1, each); err != nil {
				return err
			}
			continue
		}
		record, err := d.cell(page, cell)
		if err != nil {
			return err
		}
		if !each(record) {
			return errEnough
		}
	}
	if kind == interiorTable {
		return d.visit(int(binary.BigEndian.Uint32(page[at+8:])), depth+1, each)
	}
	return nil
}

// numbered reads a page by its number, from 1 on.
func (d *sqlite) numbered(number int) ([]byte, error) {
	if number < 1 {
		return nil, errSQLite
	}
	page := make([]byte, d.pageSize)
	err := d.read(page, int64(number-1)*int64(d.pageSize))
	return page[:d.usable], err
}

// cell is the record of a leaf's cell, with the parts that are on overflow pages.
func (d *sqlite) cell(page []byte, at int) ([]byte, error) {
	rest := page[at:]
	size, n := varint(rest)
	_, m := varint(rest[n:])
	rest = rest[n+m:]
	record, ok := d.record(size)
	if n == 0 || m == 0 || !ok {
		return nil, errSQLite
	}
	local := int(size)
	if most := d.usable - 35; local > most {
		least := (d.usable-12)*32/255 - 23
		local = least + (int(size)-least)%(d.usable-4)
		if local > most {
			local = least
		}
	}
	if local > len(rest) {
		return nil, errSQLite
	}
	record = append(record, rest[:local]...)
	if local == int(size) {
		return record, nil
	}
	if local+4 > len(rest) {
		return nil, errSQLite
	}
	for next := int(binary.BigEndian.Uint32(rest[local:])); len(record) < int(size); {
		more, err := d.numbered(next)
		if err != nil {
			return nil, err
		}
		next = int(binary.BigEndian.Uint32(more))
		record = append(record, more[4:min(len(more), 4+int(size)-len(record))]...)
	}
	return record, nil
}

// varint reads SQLite's variable-length integer: big-endian groups of seven bits, the ninth byte
// whole. n is 0 if the bytes end inside it.
func varint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 9 {
		c := b[n]
		n++
		if n == 9 {
			return v<<8 | uint64(c), n
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, n
		}
	}
	return 0, 0
}

// parseRecord splits a record into its columns' bytes; nil if it is incomplete.
func parseRecord(record []byte) [][]byte {
	size, n := varint(record)
	if n == 0 || size < uint64(n) || size > uint64(len(record)) {
		return nil
	}
	types, body := record[n:size], record[size:]
	var columns [][]byte
	for len(types) > 0 {
		kind, n := varint(types)
		if n == 0 {
			return nil
		}
		types = types[n:]
		length := uint64(0)
		switch {
		case kind < 12:
			length = uint64([]byte{0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0}[kind])
		default:
			length = (kind - 12) / 2
		}
		if length > uint64(len(body)) {
			return nil
		}
		columns = append(columns, body[:length])
		body = body[length:]
	}
	return columns
}

// integer reads a column's big-endian integer.
func integer(b []byte) (v int64) {
	for _, c := range b {
		v = v<<8 | int64(c)
	}
	return v
}
