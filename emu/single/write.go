package single

import (
	"io"
	"os"

	"binproxy/emu/config"
)

// Write writes the single file of the program at self, the configuration, and each emulator that
// the configuration names by a file name. emulators maps that name to the file's path. It gives
// the sizes of what it wrote, in the order of the parts: the program, the emulators, the
// configuration.
func Write(w io.Writer, self string, c config.Config, emulators map[string]string) (sizes []int64, err error) {
	out := writer{w: w}
	out.add(config.Binary, func(w io.Writer) error { _, err := CopyProgram(w, self); return err })
	for _, e := range c.Emulators {
		out.add(e.Path, func(w io.Writer) error { return copyFile(w, emulators[e.Path]) })
	}
	out.add(config.Name, func(w io.Writer) error { _, err := w.Write(c.Marshal()); return err })
	if out.err == nil {
		_, out.err = w.Write(appendIndex(nil, out.parts))
	}
	for _, p := range out.parts {
		sizes = append(sizes, p.size)
	}
	return sizes, out.err
}

// writer counts the parts that go through it; after an error it does nothing.
type writer struct {
	w     io.Writer
	parts []part
	err   error
}

func (o *writer) add(name string, fill func(io.Writer) error) {
	if o.err != nil {
		return
	}
	p := part{name: name}
	o.err = fill(&summing{o.w, &p})
	o.parts = append(o.parts, p)
}

// summing updates a part's size and sum with what is written.
type summing struct {
	w io.Writer
	p *part
}

func (s *summing) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.p.size += int64(n)
	s.p.sum = addTo(s.p.sum, b[:n])
	return n, err
}

func copyFile(w io.Writer, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}
