// actor is a guest for tests of what a supervisor is the parent of.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static volatile int count[65];

static void note(int s) { count[s]++; }

static void say(const char *what) {
	printf("<%s>\n", what);
	fflush(stdout);
}

// terminal prints the signals that it gets, and ends with status 3 at a line "quit".
static int terminal(void) {
	struct sigaction a = {.sa_handler = note};
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGQUIT, &a, NULL);
	sigaction(SIGWINCH, &a, NULL);
	sigaction(SIGCONT, &a, NULL);
	say("ready");
	char b[200], text[300];
	for (;;) {
		ssize_t n = read(0, b, sizeof b - 1);
		if (n > 0) {
			b[n] = 0;
			if (!strcmp(b, "quit\n"))
				return 3;
			struct winsize w;
			ioctl(0, TIOCGWINSZ, &w);
			sprintf(text, "int %d quit %d winch %d cont %d size %dx%d foreground %d", count[SIGINT], count[SIGQUIT], count[SIGWINCH], count[SIGCONT] > 0, w.ws_row,
			        w.ws_col, tcgetpgrp(0) == getpgrp());
			say(text);
		} else if (n == 0 || errno != EINTR)
			return 4;
	}
}

// waits prints the signal that it got, and ends with status 5.
static int waits(void) {
	sigset_t set;
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	say("ready");
	siginfo_t info;
	int s = sigwaitinfo(&set, &info);
	char text[100];
	sprintf(text, "signal %d", s);
	say(text);
	return 5;
}

// spawns runs a program several times, one after the other.
static int spawns(int times, char **argv) {
	int bad = 0;
	for (int i = 0; i < times; i++) {
		pid_t p;
		int st = 0;
		if (posix_spawn(&p, argv[0], NULL, NULL, argv, environ) || waitpid(p, &st, 0) != p || st)
			bad++;
	}
	printf("<bad %d>\n", bad);
	return 0;
}

// crowd runs a program many times at once.
static int crowd(int times, char **argv) {
	int bad = 0, st;
	for (int i = 0; i < times; i++) {
		pid_t p = fork();
		if (p == 0) {
			execv(argv[0], argv);
			_exit(99);
		}
		bad += p < 0;
	}
	while (wait(&st) > 0)
		bad += st != 0;
	printf("<bad %d>\n", bad);
	return 0;
}

// bomb forks and execs itself without end; failures by the limit of processes do not count.
static int bomb(char *self, int depth) {
	if (depth == 0)
		return 0;
	char d[12];
	sprintf(d, "%d", depth - 1);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			execl(self, self, "bomb", d, NULL);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	if (depth == 4)
		say("over");
	return 0;
}

static void *runs(void *argv) {
	spawns(20, argv);
	return NULL;
}

int main(int argc, char **argv) {
	char *how = argv[1];
	if (!strcmp(how, "terminal"))
		return terminal();
	if (!strcmp(how, "waits"))
		return waits();
	if (!strcmp(how, "spawns"))
		return spawns(atoi(argv[2]), argv + 3);
	if (!strcmp(how, "crowd"))
		return crowd(atoi(argv[2]), argv + 3);
	if (!strcmp(how, "bomb"))
		return bomb(argv[0], atoi(argv[2]));
	if (!strcmp(how, "dies")) {
		struct rlimit none = {0};
		setrlimit(RLIMIT_CORE, &none);
		raise(atoi(argv[2]));
	}
	if (!strcmp(how, "threads")) {
		pthread_t t[4];
		for (int i = 0; i < 4; i++)
			pthread_create(&t[i], NULL, runs, argv + 2);
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
		return 0;
	}
	if (!strcmp(how, "leaves")) { // a process that outlives us
		if (fork() == 0) {
			setsid();
			say("left");
			for (;;)
				pause();
		}
		sleep(1);
		return 6;
	}
	if (!strcmp(how, "orphan")) { // a grandchild whose parent ends first; it ends after that
		int fd[2];
		pipe(fd);
		pid_t p = fork();
		if (p == 0) {
			if (fork() == 0) {
				close(fd[0]);
				sleep(1);
				write(fd[1], "x", 1);
				_exit(0);
			}
			_exit(0);
		}
		close(fd[1]);
		waitpid(p, NULL, 0);
		char c;
		printf("<orphan %zd>\n", read(fd[0], &c, 1));
		return 0;
	}
	return argc > 2 ? atoi(argv[2]) : 0;
}
