// keeps prints what a command that keeps its process sees.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *what = argv[1];
	if (!strcmp(what, "later")) {
		FILE *f = fopen(argv[2], "w");
		fprintf(f, "later");
		return fclose(f);
	}
	pid_t waited = wait(NULL);
	printf("pid %d, wait %d: %d\n", getpid(), waited, errno);
	fflush(stdout);
	if (!strcmp(what, "dies"))
		raise(SIGTERM);
	if (!strcmp(what, "children")) {
		for (int n = 3; n > 0; n--)
			if (fork() == 0)
				_exit(n);
		int sum = 0, status, many = 0;
		while (wait(&status) > 0) {
			sum += WEXITSTATUS(status);
			many++;
		}
		printf("%d children, sum %d, at last %d\n", many, sum, errno);
	}
	pid_t parent = getpid();
	if (!strcmp(what, "leaves") && fork() == 0) {
		setsid();
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		while (getppid() == parent)
			usleep(1000);
		execl("/proc/self/exe", argv[0], "later", argv[2], NULL);
		_exit(1);
	}
	return 5;
}
