// The pidfd calls on a child of its own: pidfd open, pidfd poll, pidfd signal.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	fflush(stdout);
	kill(child, SIGKILL);
	return 1;
}

static int signal_by_pidfd(void)
{
	char path[32];
	int status;

	snprintf(path, sizeof path, "/proc/%d", (int)child);
	int fd = open(path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fail("open");
	if (syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0)
		return fail("pidfd_send_signal");
	waitpid(child, &status, 0);
	printf("pidfd_send_signal: ended by signal %d\n", WTERMSIG(status));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 64;
	child = fork();
	if (child == 0) {
		sleep(60);
		_exit(0);
	}
	if (strcmp(argv[1], "signal") == 0)
		return signal_by_pidfd();
	int fd = syscall(SYS_pidfd_open, child, 0);
	if (fd < 0)
		return fail("pidfd_open");
	kill(child, SIGTERM);
	if (strcmp(argv[1], "poll") == 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 10000) != 1)
			return fail("poll");
		printf("pidfd_open: poll says %#x\n", p.revents);
		return 0;
	}
	printf("pidfd_open: a descriptor\n");
	return 0;
}
