package tracee

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"binproxy/emu/seccomp"
)

// Below is the address of room for some bytes of any type, below all that the stack holds.
func (r *Registers) Below(size int) uint64 {
	const redZone, alignment = 128, 16 // amd64's; other machines have no red zone
	return (*r.SP() - redZone - uint64(size)) &^ (alignment - 1)
}

// Borrowed writes text into memory that the thread does not use while do runs.
func (t *Thread) Borrowed(at uint64, text []byte, do func() error) error {
	saved := make([]byte, len(text))
	if err := t.Read(at, saved); err != nil {
		return err
	}
	if err := t.Write(at, text); err != nil {
		return err
	}
	err := do()
	if wrong := t.Write(at, saved); err == nil {
		err = wrong
	}
	return err
}

// A further filter answers this option of prctl, which no kernel has, with an errno of its own for
// each kind of filter: so a thread gets, and inherits, each kind once.
const (
	questionOption = 0x62780001
	answerErrno    = 0xf00
)

// Further is a filter for a thread that has ours already.
type Further struct {
	Kind    uint16
	Threads bool // also for the other threads of the process, if they have the same filters so far
	Rules   []seccomp.Rule
}

// AddFilter puts a further filter on the thread, unless it has one of the kind. It ends in a
// syscall-stop, as the calls do that the thread makes for it in place of its own or
// after that; the caller must set the registers. It takes no_new_privs, or CAP_SYS_ADMIN in the
// thread's user namespace.
func (t *Thread) AddFilter(abi *ABI, r Registers, from Where, f Further) error {
	ask := t.Instead
	if from == Leaving {
		ask = func(abi *ABI, r Registers, nr, a, b uint64) (int64, error) {
			return t.CallAt(abi, r, r.Instruction(), nr, a, b)
		}
	}
	answer := answerErrno + f.Kind
	if result, err := ask(abi, r, abi.Prctl, questionOption, uint64(f.Kind)); err != nil || result == -int64(answer) {
		return err
	}
	rules := f.Rules
	for _, c := range Execs {
		if c.At() { // one of each ABI
			question := &seccomp.Equal{Arg: 0, Value: questionOption, Mask: math.MaxUint32}
			rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: uint32(c.Prctl), When: question, Action: seccomp.Fail(answer)})
		}
	}
	code, err := seccomp.Assemble(rules)
	if err != nil {
		return err
	}
	const header = 16 // struct sock_fprog: its length, and the address of the code
	text := make([]byte, header, header+8*len(code))
	for _, c := range code {
		text = binary.LittleEndian.AppendUint16(text, c.Code)
		text = append(text, c.Jt, c.Jf)
		text = binary.LittleEndian.AppendUint32(text, c.K)
	}
	at := r.Below(len(text))
	binary.LittleEndian.PutUint16(text, uint16(len(code)))
	pointer := 8
	if abi.compat || abi.Prctl > 1<<30 { // x32's calls have bit 30 set
		pointer = 4
	}
	binary.LittleEndian.PutUint64(text[pointer:], at+header)
	return t.Borrowed(at, text, func() error {
		*r.Arg(abi, 2) = at
		var flags uint64
		if f.Threads {
			flags = unix.SECCOMP_FILTER_FLAG_TSYNC
		}
		result, err := t.CallAt(abi, r, r.Instruction(), abi.Seccomp, unix.SECCOMP_SET_MODE_FILTER, flags)
		if err == nil && result > 0 { // a thread with other filters
			result, err = t.CallAt(abi, r, r.Instruction(), abi.Seccomp, unix.SECCOMP_SET_MODE_FILTER, 0)
		}
		if err == nil && result < 0 {
			err = unix.Errno(-result)
		}
		return err
	})
}
