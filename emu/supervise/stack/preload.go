package stack

import "strings"

// preloadName begins the entry of the variable that names libraries to loaders, hiddenName that of
// the same where it is hidden from them.
const (
	preloadName = "LD_PRELOAD="
	hiddenName  = "LD_PRELOAd="
)

// IsPreload reports whether an entry of the environment is LD_PRELOAD, or the hidden one.
func IsPreload(entry string) (shown, ok bool) {
	if shown = strings.HasPrefix(entry, preloadName); shown {
		return true, true
	}
	return false, strings.HasPrefix(entry, hiddenName)
}

// HasPreload reports whether one of them is in the environment. Every exec of a guest asks: it
// reads the strings, which lie one behind the other, a page at a time.
func (s Stack) HasPreload(m Memory) bool {
	var page [pageSize]byte
	var from, to uint64 // what is in page
	for _, at := range s.Envp {
		if at < from || at+uint64(len(preloadName)) > to {
			size := max(pageSize-at%pageSize, uint64(len(preloadName)))
			if m.Read(at, page[:size]) != nil {
				continue // shorter than the name, at the end of memory
			}
			from, to = at, at+size
		}
		if _, ok := IsPreload(string(page[at-from:][:len(preloadName)])); ok {
			return true
		}
	}
	return false
}
