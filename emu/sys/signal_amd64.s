#include "textflag.h"

// relay is a signal handler (signal in DI, siginfo in SI): it writes number, si_code and si_pid to
// ·relayFD.
TEXT ·relay(SB),NOSPLIT|NOFRAME,$0
	SUBQ $16, SP
	MOVL DI, 0(SP)
	MOVL 8(SI), AX
	MOVL AX, 4(SP)
	MOVL 16(SI), AX
	MOVL AX, 8(SP)
	MOVQ ·relayFD(SB), DI
	MOVQ SP, SI
	MOVQ $12, DX
	MOVQ $1, AX // write
	SYSCALL
	ADDQ $16, SP
	RET

// relay returns to restorer.
TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0
	MOVQ $15, AX // rt_sigreturn
	SYSCALL
	INT  $3

// func takeSignal(signal uint64) int64
TEXT ·takeSignal(SB),NOSPLIT,$32-16
	LEAQ ·relay(SB), AX
	MOVQ AX, 0(SP)
	MOVQ $0x1c000004, AX // SA_RESTART | SA_ONSTACK | SA_RESTORER | SA_SIGINFO
	MOVQ AX, 8(SP)
	LEAQ ·restorer(SB), AX
	MOVQ AX, 16(SP)
	MOVQ $-1, 24(SP) // every signal waits meanwhile
	MOVQ signal+0(FP), DI
	MOVQ SP, SI
	XORL DX, DX
	MOVQ $8, R10
	MOVQ $13, AX // rt_sigaction
	SYSCALL
	MOVQ AX, ret+8(FP)
	RET
