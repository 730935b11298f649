// full LIMIT FREE FILE [ARGUMENT...] lowers its limit of open files to LIMIT, fills its table with
// descriptors that close on exec up to FREE free ones, and executes FILE, first in a way that
// fails. What it then still has open must be as it was.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void list(const char *when)
{
	int closing = 0, staying = 0, null = 0;
	struct stat device, st;
	stat("/dev/null", &device);
	for (int fd = 3; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFD);
		if (flags < 0)
			continue;
		if (flags & FD_CLOEXEC)
			closing++;
		else
			staying++;
		fstat(fd, &st);
		null += st.st_rdev == device.st_rdev;
	}
	printf("%s: %d close on exec, %d stay, %d are null\n", when, closing, staying, null);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int limit = atoi(argv[1]), nfree = atoi(argv[2]), fd;
	struct rlimit r = { limit, limit };
	for (fd = 5; fd < 1024; fd++)
		close(fd);
	setrlimit(RLIMIT_NOFILE, &r);
	while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		;
	for (; nfree > 0; nfree--)
		close(limit - nfree);
	list("before");
	char *big = malloc(40 << 20);
	memset(big, 'x', (40 << 20) - 1);
	char *many[] = { argv[3], big, NULL };
	execve(argv[3], many, environ);
	printf("too much: %s\n", strerror(errno));
	list("after that");
	execve(argv[3], argv + 3, environ);
	printf("exec: %s\n", strerror(errno));
	list("after that");
	return 1;
}
