package spoof

import (
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/seccomp"
)

// A program that has one of our files in place of the kernel's may compare what it has opened with
// what the path names, by fstat and stat: cp and install refuse to copy a file that was replaced.
// So a process that gets such a file also gets one more filter. That stops the calls that look at
// an open file, and for ours they are made of the kernel's file.

// statForm is how a call that looks at an open file takes its arguments.
type statForm int

const (
	fstat     statForm = iota + 1 // fstat(fd, buffer)
	fstatAt                       // fstatat(fd, "", buffer, AT_EMPTY_PATH)
	statxForm                     // statx(fd, "", AT_EMPTY_PATH, mask, buffer)
)

// flags is the argument with the flags; none for fstat.
func (f statForm) flags() int { return [...]int{0, 0, 3, 2}[f] }

func statRules() (rules []seccomp.Rule) {
	for i, c := range statCalls {
		r := seccomp.Rule{Arch: c.Arch, Number: c.Nr, Action: seccomp.Trace(dataStat + uint16(i))}
		if c.statOf != fstat {
			r.When = &seccomp.Equal{Arg: c.statOf.flags(), Value: unix.AT_EMPTY_PATH, Mask: unix.AT_EMPTY_PATH}
		}
		rules = append(rules, r)
	}
	return rules
}

// statBegin serves a thread about to look at an open file. Of one of ours, it looks at the
// kernel's file, by its path.
func (s *Spoof) statBegin(t Thread, c *call) error {
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	arg := func(n int) *uint64 { return regs.Arg(c.ABI, n) }
	file := s.givenAs(t, int(int32(*arg(0))))
	if file == nil || s.asked(t, opening{path: file.Path, dirfd: unix.AT_FDCWD}) != file {
		return t.Continue(0)
	}
	there := regs
	nr := uint64(c.Nr)
	if c.statOf == fstat {
		nr = uint64(c.fstatAt)
		*there.Arg(c.ABI, 2), *there.Arg(c.ABI, 3) = *arg(1), 0
	} else {
		if path, err := t.ReadString(*arg(1), 1); err != nil || path != "" {
			return t.Continue(0)
		}
		*there.Arg(c.ABI, c.statOf.flags()) &^= unix.AT_EMPTY_PATH
	}
	at := regs.Below(len(file.Path) + 1)
	here := int64(unix.AT_FDCWD)
	err = t.Quietly(func() error {
		back := regs
		err := t.Borrowed(at, append([]byte(file.Path), 0), func() error {
			result, err := t.Instead(c.ABI, there, nr, uint64(here), at)
			back.SetResult(result)
			return err
		})
		if err != nil {
			return err
		}
		back.Finished()
		return t.SetRegisters(back)
	})
	if err != nil {
		return err
	}
	return t.Continue(0)
}

// givenAs finds the kernel's file in whose place a thread has one of ours open.
func (s *Spoof) givenAs(t Thread, fd int) *identityFile {
	var st, own unix.Stat_t
	if unix.Fstatat(s.sight.Proc, strconv.Itoa(t.TID())+"/fd/"+strconv.Itoa(fd), &st, 0) != nil {
		return nil
	}
	for _, f := range s.files {
		if f.fd >= 0 && unix.Fstat(f.fd, &own) == nil && own.Dev == st.Dev && own.Ino == st.Ino {
			return f
		}
	}
	return nil
}
