// hostile is a native program that tries to get from its supervisor what the kernel would refuse
// it. It prints in one line how many of its children ended with which status.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { nobody = 65534 };

// drop turns root into an ordinary user.
static void drop(void) {
	if (geteuid() == 0 && (setgroups(0, NULL) || setresgid(nobody, nobody, nobody) || setresuid(nobody, nobody, nobody)))
		_exit(90);
}

// status is a child's end as one number.
static int status_of(pid_t p) {
	int st;
	while (waitpid(p, &st, __WALL) != p)
		if (errno != EINTR)
			return -1;
	return WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st);
}

static int seen[256];

static int report(const char *name) {
	printf("%s:", name);
	for (int i = 0; i < 256; i++)
		if (seen[i])
			printf(" %d of %d", seen[i], i);
	printf("\n");
	return 0;
}

// swap executes a guest in a task that shares our descriptor table. There we replace the emulator's
// descriptor with another program's. It ends after that program was executed some times.
static int swap(int times, const char *guest, const char *other) {
	drop();
	char *argv[] = {"guest", "one", NULL};
	int wrong = 0;
	int program = fcntl(open(other, O_PATH), F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < 3000 && wrong < times; i++) {
		close(3);
		pid_t p = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0);
		if (p == 0) {
			execv(guest, argv);
			_exit(91);
		}
		int st, ended;
		while ((ended = waitpid(p, &st, WNOHANG)) == 0)
			if (fcntl(3, F_GETFD) >= 0) {
				for (int k = 0; k < i % 40 * 50; k++)
					__asm__ volatile("");
				dup3(program, 3, 0);
			}
		ended = WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st);
		wrong += ended != 42;
		seen[ended]++;
	}
	return report("swap");
}

// overtake executes a guest in a thread while the leader of its group is stopped again and again.
static char *guest_argv[] = {"guest", "/nonexistent/argument", NULL};
static const char *guest_path;

static void *executes(void *wait) {
	usleep((uintptr_t)wait % 8 * 100);
	execv(guest_path, guest_argv);
	_exit(92);
}

static int overtake(int times, const char *guest) {
	drop();
	guest_path = guest;
	pid_t busy[3];
	for (int i = 0; i < 3; i++)
		if ((busy[i] = fork()) == 0)
			for (;;) {
				pid_t p = fork();
				if (p == 0) {
					execv(guest_path, guest_argv);
					_exit(93);
				}
				status_of(p);
			}
	for (int i = 0; i < times; i++) {
		pid_t p = fork();
		if (p == 0) {
			pthread_t t;
			pthread_create(&t, NULL, executes, (void *)(uintptr_t)i);
			for (;;)
				execv("/nonexistent/program", guest_argv);
		}
		seen[status_of(p)]++;
	}
	for (int i = 0; i < 3; i++)
		kill(busy[i], SIGKILL);
	return report("overtake");
}

// flip executes a path that leads to one guest and to the other by turns, until the other was
// executed some times.
static int flip(int times, int namespace, const char *dir, const char *one, const char *other) {
	drop();
	if (chdir(dir))
		_exit(94);
	pid_t flipper = fork();
	if (flipper == 0)
		for (;;) {
			symlink(one, "new");
			rename("new", "path");
			symlink(other, "new");
			rename("new", "path");
		}
	int here = open(".", O_PATH);
	if (namespace && unshare(CLONE_NEWUSER))
		_exit(95);
	for (int i = 0; i < 3000 && seen[42] < times; i++) {
		pid_t p = fork();
		if (p == 0) {
			if (namespace) // by a descriptor, so the supervisor hands over the file
				syscall(SYS_execveat, here, "path", guest_argv, environ, 0);
			else
				execv("path", guest_argv);
			_exit(96);
		}
		seen[status_of(p)]++;
	}
	kill(flipper, SIGKILL);
	return report("flip");
}

// look reads from a process that is not dumpable until that ends, and reports whether it got what
// it should not get.
static const char secret[] = "what nobody else may read";

static int look(pid_t p) {
	char name[40], b[sizeof secret];
	sprintf(name, "/proc/%d/mem", p);
	while (kill(p, 0) == 0) {
		int fd = open(name, O_RDONLY);
		if (fd < 0)
			continue;
		int got = pread(fd, b, sizeof b, (off_t)(uintptr_t)secret) == sizeof b && !memcmp(b, secret, sizeof b);
		close(fd);
		if (got)
			return 1;
	}
	return 0;
}

// undumpable executes a path in processes that are not dumpable, while another process of the same
// user looks at them.
static int undumpable(int times, const char *path) {
	drop();
	prctl(PR_SET_DUMPABLE, 0);
	for (int i = 0; i < times; i++) {
		int gate[2];
		if (pipe(gate))
			_exit(97);
		pid_t p = fork();
		if (p == 0) {
			char b;
			close(gate[1]);
			read(gate[0], &b, 1);
			execv(path, guest_argv);
			_exit(98);
		}
		pid_t eye = fork();
		if (eye == 0) {
			close(gate[0]);
			close(gate[1]);
			_exit(look(p));
		}
		close(gate[0]);
		usleep(1000);
		close(gate[1]);
		seen[status_of(p)]++;
		if (status_of(eye) == 1)
			seen[1]++;
	}
	return report("undumpable");
}

// lends executes a path in a vfork's child, which has our memory, and reports whether we are
// dumpable afterwards.
static int lends(const char *path) {
	drop();
	prctl(PR_SET_DUMPABLE, 0);
	pid_t p = vfork();
	if (p == 0) {
		execv(path, guest_argv);
		_exit(99);
	}
	seen[status_of(p)]++;
	seen[prctl(PR_GET_DUMPABLE)]++;
	return report("lends");
}

// run executes a program.
static int run(const char *path) {
	drop();
	pid_t p = fork();
	if (p == 0) {
		execv(path, guest_argv);
		_exit(88);
	}
	seen[status_of(p)]++;
	return report("run");
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	const char *how = argv[1];
	if (!strcmp(how, "swap"))
		return swap(atoi(argv[2]), argv[3], argv[4]);
	if (!strcmp(how, "overtake"))
		return overtake(atoi(argv[2]), argv[3]);
	if (!strcmp(how, "flip"))
		return flip(atoi(argv[2]), atoi(argv[3]), argv[4], argv[5], argv[6]);
	if (!strcmp(how, "undumpable"))
		return undumpable(atoi(argv[2]), argv[3]);
	if (!strcmp(how, "lends"))
		return lends(argv[2]);
	if (!strcmp(how, "run"))
		return run(argv[2]);
	return 89;
}
