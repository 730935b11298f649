# execve(argv[1], argv + 1, envp) by int $0x80; if that fails, it checks that registers are as before, and exits with the errno.
	.globl _start
_start:
	mov (%esp), %ecx
	cmp $2, %ecx
	jl none
	mov 8(%esp), %ebx
	lea 8(%esp), %ecx
	mov (%esp), %edx
	lea 8(%esp,%edx,4), %edx
	mov $0x1234567, %esi
	mov $0x2345678, %edi
	mov $0x3456789, %ebp
	push %ebx
	push %ecx
	push %edx
	mov $11, %eax
	int $0x80
	neg %eax
	pop %edi # edx
	cmp %edi, %edx
	jne spoiled
	pop %edi # ecx
	cmp %edi, %ecx
	jne spoiled
	pop %edi # ebx
	cmp %edi, %ebx
	jne spoiled
	cmp $0x1234567, %esi
	jne spoiled
	cmp $0x3456789, %ebp
	jne spoiled
	mov %eax, %ebx
	jmp end
spoiled:
	mov $200, %ebx
	jmp end
none:
	mov $0, %ebx
end:
	mov $1, %eax
	int $0x80
