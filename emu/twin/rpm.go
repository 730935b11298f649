package twin

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"os"
)

// askRpm reads the header of each package, which is a row of the table Packages in rpm's database,
// in the form that rpm has had since 4.16. The older forms, Berkeley's and ndb, tell nothing here.
func askRpm(root Root, file string, packages []string) (owned, error) {
	f, err := openFirst(root, rpmFiles[:])
	if err != nil {
		return owned{}, errUnknown
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return owned{}, errUnknown
	}
	d, err := openSQLite(f, fi.Size())
	if err != nil {
		return owned{}, errUnknown
	}
	o, known := owned{}, false
	err = d.table("Packages", func(record []byte) bool {
		if columns := parseRecord(record); len(columns) >= 2 {
			o, known = rpmHeader(columns[1]).owns(file, packages)
		}
		return !known
	})
	if err != nil || !known {
		return owned{}, errUnknown
	}
	return o, nil
}

func openFirst(root Root, names []string) (f *os.File, err error) {
	for _, name := range names {
		if f, err = root.Open(name); err == nil {
			return f, nil
		}
	}
	return nil, err
}

// rpmHeader is a package's header: the number of entries, the size of the data, the entries (tag,
// type, offset, count), the data.
type rpmHeader []byte

// The tags (rpmtag.h), and the types of their values.
const (
	tagName       = 1000
	tagVersion    = 1001
	tagRelease    = 1002
	tagDigests    = 1035
	tagDirIndexes = 1116
	tagBaseNames  = 1117
	tagDirNames   = 1118
	tagDigestAlgo = 5011

	rpmInt32, rpmString, rpmStrings = 4, 6, 8
)

// value finds a tag's data and count.
func (h rpmHeader) value(tag, kind uint32) (data []byte, count int) {
	if len(h) < 8 {
		return nil, 0
	}
	entries, be := int(binary.BigEndian.Uint32(h)), binary.BigEndian
	if entries > (len(h)-8)/16 {
		return nil, 0
	}
	all := h[8+16*entries:]
	for i := range entries {
		e := h[8+16*i:]
		if be.Uint32(e) != tag || be.Uint32(e[4:]) != kind {
			continue
		}
		if at := int(be.Uint32(e[8:])); at <= len(all) {
			return all[at:], int(be.Uint32(e[12:]))
		}
	}
	return nil, 0
}

func (h rpmHeader) text(tag uint32) string {
	data, _ := h.value(tag, rpmString)
	text, _, _ := bytes.Cut(data, []byte{0})
	return string(text)
}

func (h rpmHeader) texts(tag uint32) []string {
	data, count := h.value(tag, rpmStrings)
	var list []string
	for len(list) < count {
		text, rest, ok := bytes.Cut(data, []byte{0})
		if !ok {
			return nil
		}
		list, data = append(list, string(text)), rest
	}
	return list
}

func (h rpmHeader) ints(tag uint32) []int {
	data, count := h.value(tag, rpmInt32)
	if count > len(data)/4 {
		return nil
	}
	list := make([]int, count)
	for i := range list {
		list[i] = int(binary.BigEndian.Uint32(data[4*i:]))
	}
	return list
}

// owns tells whether the package, if it is one of those named, brought the file.
func (h rpmHeader) owns(file string, packages []string) (owned, bool) {
	name := h.text(tagName)
	if packages != nil && !isOneOf(name, packages) {
		return owned{}, false
	}
	bases, dirs, indexes := h.texts(tagBaseNames), h.texts(tagDirNames), h.ints(tagDirIndexes)
	for i, base := range bases {
		if i >= len(indexes) || indexes[i] >= len(dirs) || !isOneOf(dirs[indexes[i]]+base, aliases(file)) {
			continue
		}
		o := owned{database: rpm, pkg: name, version: h.text(tagVersion) + "-" + h.text(tagRelease)}
		h.checksum(&o, i)
		return o, true
	}
	return owned{}, false
}

// checksum is that of the package's file i; MD5 where the header does not say which kind.
func (h rpmHeader) checksum(o *owned, i int) {
	digests := h.texts(tagDigests)
	if i >= len(digests) || digests[i] == "" {
		return
	}
	kind := 1
	if kinds := h.ints(tagDigestAlgo); len(kinds) > 0 {
		kind = kinds[0]
	}
	switch kind { // OpenPGP's numbers
	case 1:
		o.sum = md5.New()
	case 2:
		o.sum = sha1.New()
	case 8:
		o.sum = sha256.New()
	case 10:
		o.sum = sha512.New()
	default:
		return
	}
	o.want = digests[i]
}
