#include "textflag.h"

// entry is where the kernel starts the program (the linker's -E flag): it asks rt_sigaction (13) for each of the 64 signals
// whether it is ignored, sets its bit in ·ignored, and goes on to the Go runtime's own entry.
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
	JMP  _rt0_amd64_linux(SB)
