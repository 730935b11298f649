package stack

import "errors"

// maxString bounds one string: the kernel's MAX_ARG_STRLEN, 32 pages.
const maxString = 32 * pageSize

// maxStrings bounds how many strings of an exec are looked at.
const maxStrings = 1 << 16

// The kernel gives all strings of an exec, with a pointer for each, a quarter of the stack's
// limit, but not less than leastBudget and not more than mostBudget (fs/exec.c,
// bprm_stack_limits).
const (
	leastBudget = 128 << 10
	mostBudget  = 6 << 20
)

// ErrTooMany means that there are more strings, or more in them, than are looked at. Where that is
// more than the kernel takes, its own answer is E2BIG.
var ErrTooMany = errors.New("too many arguments to look at")

// Budget is how much the strings of one exec may still take. Pointers cost nothing to whoever
// makes them, and may all lead to the same string: without an end, reading them would take as much
// memory as they ask for.
type Budget struct {
	bytes uint64
	count int
}

// NewBudget is that of a process with a limit of its stack.
func NewBudget(stackLimit uint64) *Budget {
	return &Budget{max(leastBudget, min(stackLimit/4, mostBudget)), maxStrings}
}

// take takes a string of a length out of the budget.
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
