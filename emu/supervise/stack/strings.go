package stack

import (
	"errors"
	"os"
)

// maxString is the limit of one string: the kernel's MAX_ARG_STRLEN, 32 of its pages.
var maxString = 32 * os.Getpagesize()

// maxStrings is how many strings of an exec are read at most.
const maxStrings = 1 << 16

// The kernel allows all strings of an exec, with a pointer for each, a quarter of the stack's
// limit, but at least leastBudget and at most mostBudget (fs/exec.c, bprm_stack_limits).
const (
	leastBudget = 128 << 10
	mostBudget  = 6 << 20
)

// ErrTooMany means that the strings are more, or longer, than what is read. If that is more than
// the kernel accepts, its own answer is E2BIG.
var ErrTooMany = errors.New("too many arguments to look at")

// Budget is how much the strings of one exec may still take. Pointers cost their maker nothing,
// and may all lead to the same string: without a limit, reading them could take any amount of
// memory.
type Budget struct {
	bytes uint64
	count int
}

// NewBudget returns the budget of a process with this limit of its stack.
func NewBudget(stackLimit uint64) *Budget {
	return &Budget{max(leastBudget, min(stackLimit/4, mostBudget)), maxStrings}
}

// take subtracts a string of this length from the budget.
func (b *Budget) take(length int) error {
	cost := uint64(length) + 1 + wordSize
	if b.count == 0 || cost > b.bytes {
		return ErrTooMany
	}
	b.bytes -= cost
	b.count--
	return nil
}

// Strings reads a list of strings before an exec, which ends with a null pointer.
func (b *Budget) Strings(at uint64, m Memory) ([]string, error) {
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
		text, err := m.ReadString(p, maxString)
		if err != nil {
			return nil, err
		}
		if err := b.take(len(text)); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
}
