// Makes calls and prints the errno of each, 0 for success: lines "ABI NR A0 A1 A2 A3 A4 A5" on standard input, where ABI is 64, x32 or
// i386. Each call is made in a child, since it may end the process; it prints "ended" if it did.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long call32(long nr, long *a)
{
#ifdef __x86_64__
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]) : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
#else
	return -ENOSYS;
#endif
}

static int ask(const char *abi, long nr, long *a)
{
	if (strcmp(abi, "i386") == 0) {
		long r = call32(nr, a);
		return r < 0 && r > -4096 ? -r : 0;
	}
	if (strcmp(abi, "x32") == 0)
		nr |= 0x40000000;
	errno = 0;
	return syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]) == -1 ? errno : 0;
}

int main(void)
{
	char abi[8];
	long nr, a[6];

	setsid();
	setvbuf(stdin, NULL, _IONBF, 0);
	while (scanf("%7s %ld %li %li %li %li %li %li", abi, &nr, a, a + 1, a + 2, a + 3, a + 4, a + 5) == 8) {
		int out[2], answer, status;
		if (pipe(out) < 0)
			return 1;
		pid_t child = fork();
		if (child == 0) {
			answer = ask(abi, nr, a);
			write(out[1], &answer, sizeof answer);
			_exit(0);
		}
		close(out[1]);
		if (read(out[0], &answer, sizeof answer) == sizeof answer)
			printf("%d\n", answer);
		else
			printf("ended\n");
		close(out[0]);
		fflush(stdout);
		waitpid(child, &status, 0);
	}
	return 0;
}
