// crowd COUNT FILE starts COUNT sleeping programs of FILE, which is this program, and then one that
// executes itself by /proc/self/exe.
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// start returns once the child executes FILE: 0, or the errno.
static int start(const char *file, const char *what, pid_t *child)
{
	int ends[2], failed = 0;
	if (pipe2(ends, O_CLOEXEC))
		return errno;
	*child = fork();
	if (*child == 0) {
		execl(file, file, what, (char *)0);
		failed = errno;
		write(ends[1], &failed, sizeof failed);
		_exit(1);
	}
	close(ends[1]);
	read(ends[0], &failed, sizeof failed);
	close(ends[0]);
	return failed;
}

int main(int argc, char **argv)
{
	if (!strcmp(argv[1], "sleeps"))
		return pause();
	if (!strcmp(argv[1], "again"))
		return execl("/proc/self/exe", "again", "ends", (char *)0), 9;
	if (!strcmp(argv[1], "ends"))
		return 3;
	int count = atoi(argv[1]), status;
	pid_t *children = calloc(count + 1, sizeof *children);
	for (int i = 0; i < count; i++) {
		int failed = start(argv[2], "sleeps", &children[i]);
		if (failed)
			printf("%d: %s\n", i, strerror(failed));
	}
	printf("again: %s\n", strerror(start(argv[2], "again", &children[count])));
	waitpid(children[count], &status, 0);
	printf("status %d\n", WEXITSTATUS(status));
	for (int i = 0; i < count; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], &status, 0);
	}
	return 0;
}
