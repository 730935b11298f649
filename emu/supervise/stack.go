package supervise

import (
	"encoding/binary"
	"errors"
	"slices"
)

// The auxiliary vector's keys that matter here.
const (
	auxNull    = 0
	auxExecfd  = 2
	wordSize   = 8
	stackAlign = 16
)

// maxStackWords bounds the pointers of a new stack: the kernel lets the arguments have a quarter of the stack's limit, 6 MiB at most
// by its own limit, pointers included.
const maxStackWords = 8 << 20 / wordSize

var errStack = errors.New("the new program's stack is not as execve leaves it")

// stack is what execve leaves at the new program's stack pointer, by words: argc, the pointers of argv and a 0, those of envp and a 0,
// the pairs of the auxiliary vector. Behind it lie the strings.
type stack struct {
	argv, envp []uint64
	aux        []uint64 // keys and values, up to and with AT_NULL
}

// readStack reads the stack at sp by read, which fills a slice from an address.
func readStack(sp uint64, read func(addr uint64, b []byte) error) (stack, error) {
	var s stack
	w := words{addr: sp, read: read}
	argc := w.next()
	if argc > maxStackWords {
		return s, errStack
	}
	s.argv = w.until(1)
	if uint64(len(s.argv)) != argc+1 {
		return s, errors.Join(errStack, w.err)
	}
	s.argv = s.argv[:argc]
	s.envp = w.until(1)
	s.aux = w.until(2)
	if w.err != nil {
		return s, w.err
	}
	s.envp = s.envp[:len(s.envp)-1]
	return s, nil
}

// words reads memory word by word, a part of a page at a time.
type words struct {
	addr  uint64
	read  func(addr uint64, b []byte) error
	ahead []byte
	count int
	err   error
}

func (w *words) next() uint64 {
	if len(w.ahead) == 0 && w.err == nil {
		b := make([]byte, min(1024, pageSize-w.addr%pageSize))
		if w.err = w.read(w.addr, b); w.err == nil {
			w.addr += uint64(len(b))
			w.ahead = b
		}
	}
	if w.count++; w.count > maxStackWords && w.err == nil {
		w.err = errStack
	}
	if w.err != nil {
		return 0
	}
	v := binary.LittleEndian.Uint64(w.ahead)
	w.ahead = w.ahead[wordSize:]
	return v
}

// until reads groups of size words, up to and with the one that starts with 0.
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

// size is how many bytes the words take.
func (s stack) size() uint64 {
	return wordSize * uint64(1+len(s.argv)+1+len(s.envp)+1+len(s.aux))
}

// An argument of a new argument vector is a string that is not in memory yet, or one that is at an address.
type argument struct {
	text string
	at   uint64
}

// rewritten is a stack with other arguments: bytes to be written at sp. They end where the old words ended. name is the address of
// the last string of texts.
type rewritten struct {
	sp    uint64
	bytes []byte
	name  uint64
}

// rewrite gives the stack at sp other arguments and pointers to the environment, and further pairs of auxiliary values. name is one more
// string to lay down.
func (s stack) rewrite(sp uint64, argv, envp []argument, aux []uint64, name string) rewritten {
	end := sp + s.size()
	length := len(name) + 1
	for _, list := range [][]argument{argv, envp} {
		for _, a := range list {
			if a.at == 0 {
				length += len(a.text) + 1
			}
		}
	}
	strings := end - uint64(length)
	bare := stack{argv: make([]uint64, len(argv)), envp: make([]uint64, len(envp)), aux: slices.Concat(aux, s.aux)}
	start := (strings - bare.size()) &^ (stackAlign - 1)

	texts := make([]byte, 0, length)
	lay := func(list []argument, pointers []uint64) {
		for i, a := range list {
			pointers[i] = a.at
			if a.at == 0 {
				pointers[i] = strings + uint64(len(texts))
				texts = append(append(texts, a.text...), 0)
			}
		}
	}
	lay(argv, bare.argv)
	lay(envp, bare.envp)
	at := strings + uint64(len(texts))
	texts = append(append(texts, name...), 0)

	b := make([]byte, 0, end-start)
	put := func(list ...uint64) {
		for _, v := range list {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	put(uint64(len(argv)))
	put(bare.argv...)
	put(0)
	put(bare.envp...)
	put(0)
	put(bare.aux...)
	b = append(b, make([]byte, int(strings-start)-len(b))...)
	return rewritten{start, append(b, texts...), at}
}
