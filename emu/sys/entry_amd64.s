#include "textflag.h"

// entry is where the kernel starts the program (the linker's -E flag): it asks rt_sigaction (13)
// for each of the 64 signals whether it is ignored, and sets its bit in ·ignored; asks fcntl (72)
// of the descriptors 0 to 2 whether they are closed, and sets their bits in ·closed; puts the
// limit of open files into ·nofile by prlimit64 (302); and goes on to the Go runtime's own entry.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	MOVQ $1, R12
next:
	MOVQ R12, DI
	XORL SI, SI
	LEAQ ·action(SB), DX
	MOVQ $8, R10
	MOVQ $13, AX
	SYSCALL
	CMPQ ·action(SB), $1 // SIG_IGN
	JNE  done
	MOVQ R12, CX
	DECQ CX
	MOVQ $1, BX
	SHLQ CX, BX
	ORQ  BX, ·ignored(SB)
done:
	INCQ R12
	CMPQ R12, $65
	JNE  next
	XORL R12, R12
descriptor:
	MOVQ R12, DI
	MOVQ $1, SI // F_GETFD
	XORL DX, DX
	MOVQ $72, AX
	SYSCALL
	CMPQ AX, $-9 // EBADF
	JNE  open
	MOVQ R12, CX
	MOVQ $1, BX
	SHLQ CX, BX
	ORQ  BX, ·closed(SB)
open:
	INCQ R12
	CMPQ R12, $3
	JNE  descriptor
	XORL DI, DI
	MOVQ $7, SI // RLIMIT_NOFILE
	XORL DX, DX
	LEAQ ·nofile(SB), R10
	MOVQ $302, AX
	SYSCALL
	JMP  _rt0_amd64_linux(SB)
