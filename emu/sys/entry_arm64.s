#include "textflag.h"

// The kernel starts the program at entry (the linker's -E flag). entry asks rt_sigaction (134) for
// each of the 64 signals whether it is ignored, and sets its bit in ·ignored. It asks fcntl (25)
// whether the descriptors 0 to 2 are closed, and sets their bits in ·closed. It puts the limit of
// open files into ·nofile by prlimit64 (261). If the limit of address space is too low for the Go
// runtime, it prints that by write (64) and ends by exit_group (94). If argv[0] is ForkName, it
// makes a process by clone (220), with CLONE_PARENT or, if that is refused, without. Then it goes
// on to the Go runtime's own entry. After a shorter argv[0] there are the file's name and eight
// zero bytes.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	MOVD $1, R9
next:
	MOVD R9, R0
	MOVD ZR, R1
	MOVD $·action(SB), R2
	MOVD $8, R3
	MOVD $134, R8
	SVC
	MOVD ·action(SB), R4
	CMP  $1, R4 // SIG_IGN
	BNE  done
	SUB  $1, R9, R5
	MOVD $1, R6
	LSL  R5, R6, R6
	MOVD ·ignored(SB), R7
	ORR  R6, R7, R7
	MOVD R7, ·ignored(SB)
done:
	ADD  $1, R9
	CMP  $65, R9
	BNE  next
	MOVD ZR, R9
descriptor:
	MOVD R9, R0
	MOVD $1, R1 // F_GETFD
	MOVD ZR, R2
	MOVD $25, R8
	SVC
	CMN  $9, R0 // EBADF
	BNE  open
	MOVD $1, R6
	LSL  R9, R6, R6
	MOVD ·closed(SB), R7
	ORR  R6, R7, R7
	MOVD R7, ·closed(SB)
open:
	ADD  $1, R9
	CMP  $3, R9
	BNE  descriptor
	MOVD ZR, R0
	MOVD $7, R1 // RLIMIT_NOFILE
	MOVD ZR, R2
	MOVD $·nofile(SB), R3
	MOVD $261, R8
	SVC
	MOVD ZR, R0
	MOVD $9, R1 // RLIMIT_AS
	MOVD ZR, R2
	MOVD $·memory(SB), R3
	MOVD $261, R8
	SVC
	MOVD ·memory(SB), R4
	MOVD ·needed(SB), R5
	CMP  R5, R4
	BHS  enough
	MOVD $2, R0
	MOVD ·tooLittle(SB), R1
	MOVD ·tooLittle+8(SB), R2
	MOVD $64, R8
	SVC
	MOVD $125, R0
	MOVD $94, R8
	SVC
enough:
	MOVD 8(RSP), R5
	CBZ  R5, start // there may be no argv[0]
	MOVD (R5), R6
	MOVD $0x79786f72706e6962, R7 // "binproxy"
	CMP  R7, R6
	BNE  start
	MOVD 8(R5), R6
	MOVD $0x646e616d6d6f632d, R7 // "-command"
	CMP  R7, R6
	BNE  start
	MOVBU 16(R5), R6
	CBNZ R6, start
	MOVD $0x8000, R9 // CLONE_PARENT
clone:
	MOVD R9, R0
	MOVD ZR, R1
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVD $220, R8
	SVC
	MOVD R0, ·forked(SB)
	CMN  $22, R0 // EINVAL
	BNE  start
	CBZ  R9, start
	MOVD ZR, R9
	B    clone
start:
	B    _rt0_arm64_linux(SB)
