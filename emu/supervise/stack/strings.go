package stack

import "errors"

// maxString bounds what is read of one string: the kernel's MAX_ARG_STRLEN, 32 pages.
const maxString = 32 * pageSize

// maxStrings bounds what is read of a list of arguments before an exec.
const maxStrings = 1 << 16

// Strings reads a list of strings, which ends with a null pointer.
func Strings(at uint64, m Memory) ([]string, error) {
	if at == 0 {
		return nil, nil
	}
	w := words{addr: at, memory: m}
	var list []string
	for {
		p := w.next()
		if p == 0 || w.err != nil {
			return list, w.err
		}
		if len(list) == maxStrings {
			return nil, errors.New("too many arguments to look at")
		}
		text, err := m.ReadString(p, maxString)
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
}
