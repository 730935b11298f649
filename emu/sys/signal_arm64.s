#include "textflag.h"

// relay is a signal handler (signal in R0, siginfo in R1): it writes number, si_code and si_pid to
// ·relayFD. The kernel has put its return address, the vDSO's sigreturn, into R30.
TEXT ·relay(SB),NOSPLIT|NOFRAME,$0
	SUB   $16, RSP
	MOVW  R0, 0(RSP)
	MOVWU 8(R1), R2
	MOVW  R2, 4(RSP)
	MOVWU 16(R1), R2
	MOVW  R2, 8(RSP)
	MOVD  ·relayFD(SB), R0
	MOVD  RSP, R1
	MOVD  $12, R2
	MOVD  $64, R8 // write
	SVC
	ADD   $16, RSP
	RET

// func takeSignal(signal uint64) int64
TEXT ·takeSignal(SB),NOSPLIT,$32-16
	MOVD $·relay(SB), R0
	MOVD R0, 8(RSP)
	MOVD $0x18000004, R0 // SA_RESTART | SA_ONSTACK | SA_SIGINFO
	MOVD R0, 16(RSP)
	MOVD ZR, 24(RSP)
	MOVD $-1, R0 // every signal waits meanwhile
	MOVD R0, 32(RSP)
	MOVD signal+0(FP), R0
	ADD  $8, RSP, R1
	MOVD ZR, R2
	MOVD $8, R3
	MOVD $134, R8 // rt_sigaction
	SVC
	MOVD R0, ret+8(FP)
	RET
