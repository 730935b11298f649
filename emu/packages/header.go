package packages

import (
	"bytes"
	"encoding/binary"
	"slices"

	"binproxy/third_party/hash/md5"
	"binproxy/third_party/hash/sha1"
	"binproxy/third_party/hash/sha256"
	"binproxy/third_party/hash/sha512"
)

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
	be := binary.BigEndian
	entries := be.Uint32(h)
	if uint64(entries) > uint64(len(h)-8)/16 {
		return nil, 0
	}
	all := h[8+16*int(entries):]
	for e := h[8:]; len(e) > len(all); e = e[16:] {
		if be.Uint32(e) != tag || be.Uint32(e[4:]) != kind {
			continue
		}
		// each value takes at least one byte
		if at, count := be.Uint32(e[8:]), be.Uint32(e[12:]); uint64(at)+uint64(count) <= uint64(len(all)) {
			return all[at:], int(count)
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

func (h rpmHeader) ints(tag uint32) []uint32 {
	data, count := h.value(tag, rpmInt32)
	if count > len(data)/4 {
		return nil
	}
	list := make([]uint32, count)
	for i := range list {
		list[i] = binary.BigEndian.Uint32(data[4*i:])
	}
	return list
}

// header looks for the files in a package's header, if the package is one of those in question.
func (s *search) header(h rpmHeader) {
	name := h.text(tagName)
	if s.names != nil && !slices.Contains(s.names, name) {
		return
	}
	dirs, indexes := h.texts(tagDirNames), h.ints(tagDirIndexes)
	for i, base := range h.texts(tagBaseNames) {
		if !s.bases[base] || i >= len(indexes) || uint64(indexes[i]) >= uint64(len(dirs)) {
			continue
		}
		file, ok := s.files[dirs[indexes[i]]+base]
		if !ok {
			continue
		}
		o := Owner{Package: name, Version: h.text(tagVersion) + "-" + h.text(tagRelease)}
		h.checksum(&o, i)
		s.found[file] = o
	}
}

// checksum sets the checksum of the package's file i; it is MD5 if the header does not name the
// kind.
func (h rpmHeader) checksum(o *Owner, i int) {
	digests := h.texts(tagDigests)
	if i >= len(digests) || digests[i] == "" {
		return
	}
	kind := uint32(1)
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
