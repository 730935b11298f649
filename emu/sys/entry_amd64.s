#include "textflag.h"

// The kernel starts the program at entry (the linker's -E flag). entry asks rt_sigaction (13) for
// each of the 64 signals whether it is ignored, and sets its bit in ·ignored. It asks fcntl (72)
// whether the descriptors 0 to 2 are closed, and sets their bits in ·closed. It puts the limit of
// open files into ·nofile by prlimit64 (302). If the limit of address space is too low for the Go
// runtime, it prints that by write (1) and ends by exit_group (231). If argv[0] is ForkName, it
// makes a process by clone (56), with CLONE_PARENT or, if that is refused, without. Then it goes
// on to the Go runtime's own entry. After a shorter argv[0] there are the file's name and eight
// zero bytes.
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
	XORL DI, DI
	MOVQ $9, SI // RLIMIT_AS
	XORL DX, DX
	LEAQ ·memory(SB), R10
	MOVQ $302, AX
	SYSCALL
	MOVQ ·needed(SB), BX
	CMPQ ·memory(SB), BX
	JCC  enough
	MOVQ $2, DI
	MOVQ ·tooLittle(SB), SI
	MOVQ ·tooLittle+8(SB), DX
	MOVQ $1, AX
	SYSCALL
	MOVQ $125, DI
	MOVQ $231, AX
	SYSCALL
enough:
	MOVQ 8(SP), BX
	TESTQ BX, BX // there may be no argv[0]
	JEQ  start
	MOVQ $0x79786f72706e6962, CX // "binproxy"
	CMPQ CX, (BX)
	JNE  start
	MOVQ $0x646e616d6d6f632d, CX // "-command"
	CMPQ CX, 8(BX)
	JNE  start
	CMPB 16(BX), $0
	JNE  start
	MOVL $0x8000, DI // CLONE_PARENT
clone:
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVQ $56, AX
	SYSCALL
	MOVQ AX, ·forked(SB)
	CMPQ AX, $-22 // EINVAL
	JNE  start
	TESTL DI, DI
	JEQ  start
	XORL DI, DI
	JMP  clone
start:
	JMP  _rt0_amd64_linux(SB)
