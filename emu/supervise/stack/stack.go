// Package stack rewrites what execve leaves on the stack of a new program: it replaces the
// caller's arguments, environment and auxiliary vector with those of the emulator, or of a twin's
// loader.
//
// The caller's own strings stay in place; new pointers lead to them. The new pointers, and the few
// strings that are not in memory yet, end where the old pointers ended, so the stack grows
// downwards. The package changes nothing: it reads memory through an interface, and returns what
// to write at which address.
package stack

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Keys of the auxiliary vector.
const (
	AuxExecfd = 2  // a descriptor of the program (AT_EXECFD)
	auxLoader = 7  // where its loader is, 0 for none (AT_BASE)
	auxEntry  = 9  // its entry point (AT_ENTRY)
	auxSecure = 23 // whether it may have more rights than its caller (AT_SECURE)
)

const (
	wordSize  = 8
	alignment = 16
)

// pageSize is the smallest of any host: no read may cross into a missing page.
const pageSize = 4096

// maxWords limits the pointers of a new stack: the kernel allows the arguments a quarter of the
// stack's limit, at most 6 MiB, pointers included.
const maxWords = 8 << 20 / wordSize

var errStack = errors.New("the new program's stack is not as execve leaves it")

// Memory is a process's memory.
type Memory interface {
	Read(addr uint64, b []byte) error                  // fills b from addr
	ReadString(addr uint64, limit int) (string, error) // the C string at addr
}

// Stack is what execve leaves at the new program's stack pointer, in words: argc, the pointers of
// argv and a 0, the pointers of envp and a 0, the pairs of the auxiliary vector. The strings
// follow it.
type Stack struct {
	Argv, Envp []uint64
	Aux        []uint64 // keys and values, up to and including AT_NULL
}

// Read reads the stack at sp.
func Read(sp uint64, m Memory) (Stack, error) {
	var s Stack
	w := words{addr: sp, memory: m}
	argc := w.next()
	if argc > maxWords {
		return s, errStack
	}
	s.Argv = w.until(1)
	if uint64(len(s.Argv)) != argc+1 {
		return s, errors.Join(errStack, w.err)
	}
	s.Argv = s.Argv[:argc]
	s.Envp = w.until(1)
	s.Aux = w.until(2)
	if w.err != nil {
		return s, w.err
	}
	s.Envp = s.Envp[:len(s.Envp)-1]
	return s, nil
}

// words reads memory word by word, a part of a page at a time.
type words struct {
	addr   uint64
	memory Memory
	ahead  []byte
	count  int
	err    error
}

func (w *words) next() uint64 {
	if len(w.ahead) == 0 && w.err == nil {
		b := make([]byte, min(1024, pageSize-w.addr%pageSize))
		if w.err = w.memory.Read(w.addr, b); w.err == nil {
			w.addr += uint64(len(b))
			w.ahead = b
		}
	}
	if w.count++; w.count > maxWords && w.err == nil {
		w.err = errStack
	}
	if w.err != nil {
		return 0
	}
	v := binary.LittleEndian.Uint64(w.ahead)
	w.ahead = w.ahead[wordSize:]
	return v
}

// until reads groups of size words, up to and including the one that starts with 0.
func (w *words) until(size int) []uint64 {
	var list []uint64
	for {
		key := w.next()
		list = append(list, key)
		for range size - 1 {
			list = append(list, w.next())
		}
		if key == 0 || w.err != nil {
			return list
		}
	}
}

// Dynamic reports whether a loader starts the program.
func (s Stack) Dynamic() bool { return s.auxiliary(auxLoader) != 0 }

// Secure reports whether the program may have more rights than its caller.
func (s Stack) Secure() bool { return s.auxiliary(auxSecure) != 0 }

// auxiliary returns the value of a key; 0 if there is none.
func (s Stack) auxiliary(key uint64) uint64 {
	for pair := range slices.Chunk(s.Aux, 2) {
		if pair[0] == key {
			return pair[1]
		}
	}
	return 0
}

// size is how many bytes the words take.
func (s Stack) size() uint64 {
	return wordSize * uint64(1+len(s.Argv)+1+len(s.Envp)+1+len(s.Aux))
}

// Argument is a string of a new argument vector or environment: a new string, or one that is in
// memory at an address.
type Argument struct {
	Text string
	At   uint64
}

// placed returns strings that stay where they are.
func placed(list []uint64) []Argument {
	arguments := make([]Argument, len(list))
	for i, at := range list {
		arguments[i].At = at
	}
	return arguments
}

// Lists are the arguments and the environment for a new program.
type Lists struct {
	Argv, Envp []Argument
	Marks      []Mark
}

// Mark is a byte to write over one of the strings.
type Mark struct {
	At   uint64
	Byte byte
}

// Rewritten is a stack with other lists. Bytes are to be written at SP; they end where the old
// words ended. Name is the address of the extra string. Entry is the program's entry point; a
// program that has a loader, loaded at Loader, starts in that.
type Rewritten struct {
	SP     uint64
	Bytes  []byte
	Name   uint64
	Entry  uint64
	Loader uint64 // 0 for none
}

// Rewrite gives the stack at sp other lists, and extra pairs of auxiliary values. name is one more
// string to write.
func (s Stack) Rewrite(sp uint64, l Lists, aux []uint64, name string) Rewritten {
	end := sp + s.size()
	length := len(name) + 1
	for _, list := range [][]Argument{l.Argv, l.Envp} {
		for _, a := range list {
			if a.At == 0 {
				length += len(a.Text) + 1
			}
		}
	}
	strings := end - uint64(length)
	bare := Stack{make([]uint64, len(l.Argv)), make([]uint64, len(l.Envp)), slices.Concat(aux, s.Aux)}
	start := (strings - bare.size()) &^ (alignment - 1)

	texts := make([]byte, 0, length)
	lay := func(list []Argument, pointers []uint64) {
		for i, a := range list {
			pointers[i] = a.At
			if a.At == 0 {
				pointers[i] = strings + uint64(len(texts))
				texts = append(append(texts, a.Text...), 0)
			}
		}
	}
	lay(l.Argv, bare.Argv)
	lay(l.Envp, bare.Envp)
	at := strings + uint64(len(texts))
	texts = append(append(texts, name...), 0)

	b := make([]byte, 0, end-start)
	put := func(list ...uint64) {
		for _, v := range list {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	put(uint64(len(l.Argv)))
	put(bare.Argv...)
	put(0)
	put(bare.Envp...)
	put(0)
	put(bare.Aux...)
	b = append(b, make([]byte, int(strings-start)-len(b))...)
	return Rewritten{start, append(b, texts...), at, s.auxiliary(auxEntry), s.auxiliary(auxLoader)}
}
