// Asks for 16 random bytes by the call itself, and reports whether some came.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	unsigned char bytes[16] = {0};
	long got = syscall(SYS_getrandom, bytes, sizeof bytes, 0);

	if (got < 0) {
		printf("getrandom: %s\n", strerror(errno));
		return 1;
	}
	for (int i = 0; i < got; i++)
		if (bytes[i])
			return printf("getrandom: %ld bytes\n", got) < 0;
	return 2;
}
