#include "textflag.h"

// func int80(nr, a0, a1, a2, a3, a4, a5 uint32) uint32
//
// The sixth argument goes into BP, which Go uses itself, so BP is restored afterwards. The kernel
// may clear R8 to R11.
TEXT ·int80(SB),NOSPLIT,$8-36
	MOVQ	BP, 0(SP)
	MOVL	nr+0(FP), AX
	MOVL	a0+4(FP), BX
	MOVL	a1+8(FP), CX
	MOVL	a2+12(FP), DX
	MOVL	a3+16(FP), SI
	MOVL	a4+20(FP), DI
	MOVL	a5+24(FP), BP
	INT	$0x80
	MOVQ	0(SP), BP
	MOVL	AX, ret+32(FP)
	RET
