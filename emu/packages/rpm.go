package packages

import (
	"errors"
	"io"
	"os"
)

// The places of rpm's database; the first is for distributions with an immutable /usr.
var rpmDirs = [...]string{"/usr/lib/sysimage/rpm/", "/var/lib/rpm/"}

// rpmFormats are the database's names in those places, one for each format, with the format's
// reader. A reader calls each with the header of every package, until each returns false.
var rpmFormats = [...]struct {
	name    string
	headers func(d *pages, each func(header []byte) bool) error
}{{"rpmdb.sqlite", sqliteHeaders}, {"Packages.db", ndbHeaders}, {"Packages", berkeleyHeaders}}

func rpmFiles() (list []string) {
	for _, dir := range rpmDirs {
		for _, format := range rpmFormats {
			list = append(list, dir+format.name)
		}
	}
	return list
}

func (s *search) rpm(root Root) error {
	f, name, err := openFirst(root, rpmFiles())
	if err != nil {
		return unreadable(name, err)
	}
	defer f.Close()
	d, err := newPages(f)
	if err != nil {
		return unreadable(name, err)
	}
	for _, format := range rpmFormats {
		if name == rpmDirs[0]+format.name || name == rpmDirs[1]+format.name {
			err = format.headers(d, func(h []byte) bool { s.header(h); return !s.done() })
		}
	}
	if err != nil {
		return unreadable(name, err)
	}
	return nil
}

const (
	maxDatabase = 1 << 30  // bytes; whole installations have a tenth of that
	maxRecord   = 64 << 20 // bytes; the headers of the largest packages have a tenth of that
)

// pages reads a file in pieces, and no more bytes than a sound file needs: reading ends even if
// its pages lead in circles.
type pages struct {
	r    io.ReaderAt
	size int64 // bytes
	left int64 // bytes that may yet be read
}

var errCircle = errors.New("its pages lead in circles")

// newPages refuses a file that is not regular or is too large.
func newPages(f *os.File) (*pages, error) {
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !fi.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case fi.Size() > maxDatabase:
		return nil, errors.New("larger than 1 GiB")
	}
	return pagesOf(f, fi.Size()), nil
}

// pagesOf allows each page to be read twice, as itself and as a part of a record.
func pagesOf(r io.ReaderAt, size int64) *pages { return &pages{r: r, size: size, left: 2*size + 1<<16} }

// read fills b from an offset.
func (d *pages) read(b []byte, offset int64) error {
	if d.left -= int64(len(b)); d.left < 0 {
		return errCircle
	}
	if n, err := d.r.ReadAt(b, offset); n < len(b) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// record is a buffer for a record that claims that many bytes; false if the file cannot have them.
func (d *pages) record(size uint64) ([]byte, bool) {
	if size > maxRecord || size > uint64(d.size) {
		return nil, false
	}
	return make([]byte, 0, size), true
}
