package tracee

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"binproxy/emu/seccomp"
)

// Below is the address of room for some bytes of any type, below all that the stack holds.
func (r *Registers) Below(size int) uint64 {
	const redZone, alignment = 128, 16 // amd64's; other machines have no red zone
	return (*r.SP() - redZone - uint64(size)) &^ (alignment - 1)
}

// AddFilter puts a further filter on it, in place of the call that it is about to make, up to that
// call's end; the caller must set the registers. It takes no_new_privs, or CAP_SYS_ADMIN in the
// thread's user namespace.
func (t *Thread) AddFilter(abi *ABI, r Registers, rules []seccomp.Rule) error {
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
	saved := make([]byte, len(text))
	if err := t.Read(at, saved); err != nil {
		return err
	}
	if err := t.Write(at, text); err != nil {
		return err
	}
	*r.Arg(abi, 2) = at
	result, err := t.Instead(abi, r, abi.Prctl, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER)
	if err != nil {
		return err
	}
	if result < 0 {
		err = unix.Errno(-result)
	}
	if wrong := t.Write(at, saved); wrong != nil {
		return wrong
	}
	return err
}
