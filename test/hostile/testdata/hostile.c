// hostile is a native program that does to its supervisor what programs do that mean harm, or are only odd. It prints what came of it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fuse.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void must(int ok, const char *what) {
	if (!ok) {
		printf("%s: %s\n", what, strerrorname_np(errno));
		fflush(stdout);
		_exit(99);
	}
}

// answer puts a filter on this process that has its own answer to a system call.
static void answer(long call, unsigned action) {
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, action),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};
	must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "filter");
}

// registers makes a call and reports which of the registers that the kernel keeps have changed.
static long registers(long call, long a, long b, long c, long d, long e) {
#ifdef __x86_64__
	register long r10 asm("r10") = d, r8 asm("r8") = e;
	long di = a, si = b, dx = c, result = call;
	asm volatile("syscall" : "+a"(result), "+D"(di), "+S"(si), "+d"(dx), "+r"(r10), "+r"(r8) : : "rcx", "r11", "memory");
	if (di != a || si != b || dx != c || r10 != d || r8 != e)
		printf("registers have changed\n");
#else
	long result = syscall(call, a, b, c, d, e);
	if (result < 0)
		result = -errno;
#endif
	return result;
}

// executes executes path by one of the two calls, and says what came of it, and whether signals and descriptors are as they were.
static int executes(const char *how, const char *path, char **argv) {
	long r;
	if (!strcmp(how, "execveat"))
		r = registers(SYS_execveat, AT_FDCWD, (long)path, (long)argv, (long)environ, 0);
	else
		r = registers(SYS_execve, (long)path, (long)argv, (long)environ, 0, 0);
	printf("errno: %s\n", strerrorname_np(-r));
	sigset_t set;
	sigprocmask(SIG_BLOCK, NULL, &set);
	for (int s = 1; s < 65; s++)
		if (sigismember(&set, s) == 1)
			printf("blocked: %d\n", s);
	printf("next descriptor: %d\n", dup(0));
	fflush(stdout);
	return 0;
}

static unsigned action(const char *name) {
	if (!strcmp(name, "trace"))
		return SECCOMP_RET_TRACE | 7;
	if (!strcmp(name, "trap"))
		return SECCOMP_RET_TRAP;
	return SECCOMP_RET_ERRNO | atoi(name);
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	must(argc > 2, "arguments");
	const char *how = argv[1];
	if (!strcmp(how, "filter")) { // CALL ACTION HOW PROGRAM ...: one call has another answer, and PROGRAM is executed by HOW
		answer(!strcmp(argv[2], "execve") ? SYS_execve : !strcmp(argv[2], "execveat") ? SYS_execveat : SYS_close, action(argv[3]));
		return executes(argv[4], argv[5], argv + 5);
	}
	return 98;
}
