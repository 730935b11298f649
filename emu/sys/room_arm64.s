#include "textflag.h"

// func threads(n uintptr) (full uintptr)
TEXT ·threads(SB),NOSPLIT|NOFRAME,$0-16
	MOVD 8(RSP), R10 // n
	MOVD $·gate(SB), R9
	MOVD $·tried(SB), R12
	MOVD ZR, R11
next:
	CBZ  R10, open
	MOVD $0x110f00, R0 // CLONE_VM, FS, FILES, SIGHAND, THREAD, PARENT_SETTID
	MOVD ZR, R1 // the same stack
	MOVD R12, R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVD $220, R8 // clone
	SVC
	CBZ  R0, thread
	TBNZ $63, R0, refused
	ADD  $4, R12
	SUB  $1, R10
	JMP  next
refused:
	CMN  $11, R0 // EAGAIN
	BNE  open
	MOVD $1, R11
open:
	MOVD $1, R5
	MOVW R5, (R9)
	MOVD R9, R0
	MOVD $129, R1 // FUTEX_WAKE, FUTEX_PRIVATE_FLAG
	MOVD $0x7fffffff, R2
	MOVD $98, R8 // futex
	SVC
	MOVD R11, 16(RSP) // full
	RET
thread:
	MOVD R9, R0
	MOVD $128, R1 // FUTEX_WAIT, FUTEX_PRIVATE_FLAG
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD $98, R8
	SVC
	MOVWU (R9), R5
	CBZ  R5, thread
	MOVD ZR, R0
	MOVD $93, R8 // exit
	SVC
