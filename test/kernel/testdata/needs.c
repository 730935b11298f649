// Needs getrandom in one of three ways: hard, soft (another way after ENOSYS), poisoned (another way after ENOSYS only). The exit status is 0
// if it went on.
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char bytes[8];

	if (syscall(SYS_getrandom, bytes, sizeof bytes, 0) == sizeof bytes)
		return 0;
	if (argc == 2 && strcmp(argv[1], "soft") == 0)
		return 0;
	if (argc == 2 && strcmp(argv[1], "poisoned") == 0)
		return errno != ENOSYS;
	return 1;
}
