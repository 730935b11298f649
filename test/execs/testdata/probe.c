// probe makes one exec in a given way, or shows the result of an exec. Every line that it prints is one fact.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void link_of(const char *name, const char *path) {
	char b[4096];
	ssize_t n = readlink(path, b, sizeof b - 1);
	if (n < 0)
		printf("%s: %s\n", name, strerrorname_np(errno));
	else
		printf("%s: %.*s\n", name, (int)n, b);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void files(void) {
	for (int fd = 0; fd < 64; fd++) {
		int flags = fcntl(fd, F_GETFD);
		if (flags < 0)
			continue;
		struct stat st;
		fstat(fd, &st);
		printf("file %d: type %o cloexec %d offset %ld\n", fd, st.st_mode & S_IFMT, flags & FD_CLOEXEC, (long)lseek(fd, 0, SEEK_CUR));
	}
}

static void signals(void) {
	sigset_t set;
	sigprocmask(SIG_BLOCK, NULL, &set);
	printf("blocked:");
	for (int s = 1; s < 65; s++)
		if (sigismember(&set, s) == 1)
			printf(" %d", s);
	printf("\nignored:");
	for (int s = 1; s < 65; s++) {
		struct sigaction a;
		if (sigaction(s, NULL, &a) == 0 && a.sa_handler == SIG_IGN)
			printf(" %d", s);
	}
	printf("\n");
}

// show prints what has to be the same whoever ran the program. PARENT in the environment is the pid that the parent should have; SELF our own.
static int show(int argc, char **argv) {
	printf("argc: %d\n", argc);
	for (int i = 0; i < argc; i++)
		printf("argv[%d]: %s\n", i, argv[i]);
	int n = 0;
	while (environ[n])
		n++;
	char *env[n + 1];
	memcpy(env, environ, n * sizeof *env);
	qsort(env, n, sizeof *env, by_name);
	for (int i = 0; i < n; i++)
		if (strncmp(env[i], "PARENT=", 7) && strncmp(env[i], "SELF=", 5))
			printf("env: %s\n", env[i]);
	printf("execfn: %s\n", (char *)getauxval(AT_EXECFN));
	printf("secure: %lu\n", getauxval(AT_SECURE));
	link_of("exe", "/proc/self/exe");
	link_of("cwd", "/proc/self/cwd");
	char comm[32] = "";
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, comm, sizeof comm - 1);
		close(fd);
	}
	printf("comm: %s\n", comm[0] ? strtok(comm, "\n") : "");
	files();
	signals();
	if (getenv("PARENT"))
		printf("parent is the caller's: %d\n", getppid() == atoi(getenv("PARENT")));
	if (getenv("SELF"))
		printf("pid is the caller's: %d\n", getpid() == atoi(getenv("SELF")));
	printf("leads its group: %d, session: %d\n", getpgrp() == getpid(), getsid(0) == getpid());
	printf("ids: %d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
	printf("umask: %o\n", umask(0));
	struct rlimit r;
	getrlimit(RLIMIT_NOFILE, &r);
	printf("nofile: %lu %lu\n", (unsigned long)r.rlim_cur, (unsigned long)r.rlim_max);
	fflush(stdout);
	return getenv("STATUS") ? atoi(getenv("STATUS")) : 0;
}

static int failed(void) {
	printf("errno: %s\n", strerrorname_np(errno));
	fflush(stdout);
	return 0;
}

static void must(int ok, const char *what) {
	if (!ok) {
		printf("%s: %s\n", what, strerrorname_np(errno));
		fflush(stdout);
		exit(99);
	}
}

static int at(int dirfd, const char *path, char **argv, int flags) {
	syscall(SYS_execveat, dirfd, path, argv, environ, flags);
	return failed();
}

static int memory(const char *path) {
	static char buf[1 << 16];
	int to = memfd_create("program", MFD_CLOEXEC), from = open(path, O_RDONLY | O_CLOEXEC);
	must(to >= 0 && from >= 0, "memfd");
	for (ssize_t n; (n = read(from, buf, sizeof buf)) > 0;)
		must(write(to, buf, n) == n, "write");
	close(from);
	return to;
}

static char **thread_argv;

static void *in_thread(void *path) {
	execv(path, thread_argv);
	exit(failed());
}

// canaries is memory next to the stack that a failing exec in a vfork child must not change.
static int vfork_fails(const char *path, char **argv) {
	volatile unsigned char canary[1 << 14];
	for (size_t i = 0; i < sizeof canary; i++)
		canary[i] = i * 7;
	pid_t p = vfork();
	if (p == 0) {
		execv(path, argv);
		_exit(errno);
	}
	int bad = 0;
	for (size_t i = 0; i < sizeof canary; i++)
		bad += canary[i] != (unsigned char)(i * 7);
	int st;
	waitpid(p, &st, 0);
	printf("spoiled: %d, argv[0]: %s, path: %s, status %x\n", bad, argv[0], path, st);
	fflush(stdout);
	return 0;
}

// limit finds how many bytes execve takes in further arguments of 100 KiB each.
static int limit(const char *path) {
	enum { count = 64, piece = 100 << 10 };
	static char *argv[count + 3];
	static char *envp[] = {NULL};
	long low = 0, high = (long)count * piece;
	while (low < high) {
		long middle = (low + high + 1) / 2, left = middle;
		int n = 0;
		argv[n++] = "true";
		for (; left > 0; left -= piece) {
			long size = left < piece ? left : piece;
			char *s = malloc(size + 1);
			memset(s, 'x', size);
			s[size] = 0;
			argv[n++] = s;
		}
		argv[n] = NULL;
		pid_t p = fork();
		if (p == 0) {
			int null = open("/dev/null", O_WRONLY);
			dup2(null, 1);
			execve(path, argv, envp);
			_exit(errno == E2BIG ? 77 : 78);
		}
		int st;
		waitpid(p, &st, 0);
		while (n > 1)
			free(argv[--n]);
		must(WIFEXITED(st) && WEXITSTATUS(st) != 78, "limit");
		if (WEXITSTATUS(st) == 77)
			high = middle - 1;
		else
			low = middle;
	}
	printf("limit: %ld\n", low);
	return 0;
}

// pointers finds how many pointers to the same string of size bytes execve takes: first it tries more than any kernel takes.
static int pointers(const char *path, int size) {
	enum { most = 20000 };
	static char *argv[most + 2];
	static char *envp[] = {"EXITS=0", NULL};
	char *s = malloc(size);
	memset(s, 'x', size - 1);
	s[size - 1] = 0;
	int low = 0, high = most, n = most;
	while (low < high) {
		argv[0] = "true";
		for (int i = 1; i <= n; i++)
			argv[i] = s;
		argv[n + 1] = NULL;
		pid_t p = fork();
		if (p == 0) {
			int null = open("/dev/null", O_WRONLY);
			dup2(null, 1);
			execve(path, argv, envp);
			_exit(errno == E2BIG ? 77 : 78);
		}
		int st;
		waitpid(p, &st, 0);
		must(WIFEXITED(st) && WEXITSTATUS(st) != 78, "pointers");
		if (WEXITSTATUS(st) == 77)
			high = n == most ? (7 << 20) / size : n - 1;
		else
			low = n;
		n = (low + high + 1) / 2;
	}
	printf("pointers: %d\n", low);
	return 0;
}

// ended prints how a wait ended, and stops the sender of the signals.
static void ended(const char *name, int result, pid_t sender) {
	printf("%s: %d %s\n", name, result, result < 0 ? strerrorname_np(errno) : "");
	kill(sender, SIGKILL);
	waitpid(sender, NULL, 0);
}

// sender sends the signals of a list to this process until it is killed, and after some time a byte to fd.
static pid_t sender(const int *list, int fd) {
	pid_t child = fork();
	for (int n = 0; child == 0; n++) {
		usleep(10000);
		kill(getppid(), list[n % 2]);
		if (n == 10)
			write(fd, "", 1);
	}
	return child;
}

static void handler(int s) {}

// waits prints the ends of those waits that the kernel does not restart after a signal, while ignored signals come, and others.
static void waits(void) {
	static const int ignored[2] = {SIGURG, SIGUSR1}, handled[2] = {SIGURG, SIGUSR2};
	struct timespec quarter = {.tv_nsec = 250000000};
	struct sembuf take = {.sem_op = -1};
	struct epoll_event event = {.events = EPOLLIN};
	pid_t child;
	sigset_t none;
	sigemptyset(&none);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, handler);
	int poll = epoll_create1(0), semaphore = semget(IPC_PRIVATE, 1, 0600), ends[2], quiet[2];
	pipe(ends);
	pipe(quiet);
	child = sender(ignored, quiet[1]);
	ended("epoll", epoll_wait(poll, &event, 1, 250), child);
	child = sender(ignored, quiet[1]);
	ended("signal", sigtimedwait(&none, NULL, &quarter), child);
	child = sender(ignored, quiet[1]);
	ended("semaphore", semtimedop(semaphore, &take, 1, &quarter), child);
	epoll_ctl(poll, EPOLL_CTL_ADD, ends[0], &event);
	child = sender(handled, quiet[1]);
	ended("epoll with a handler", epoll_wait(poll, &event, 1, -1), child);
	child = sender(handled, quiet[1]);
	ended("signal with a handler", sigtimedwait(&none, NULL, NULL), child);
	child = sender(ignored, ends[1]);
	ended("epoll without end", epoll_wait(poll, &event, 1, -1), child);
	semctl(semaphore, 0, IPC_RMID);
}

// mover sends this process an ignored signal again and again, and meanwhile moves a number of bytes, a piece at a time: out of fd, or into it.
static pid_t mover(int fd, int out, int size, int piece) {
	static char b[1 << 16];
	pid_t child = fork();
	for (int n = 0; child == 0; n++) {
		usleep(10000);
		kill(getppid(), n % 2 ? SIGURG : SIGUSR1);
		if (size > 0 && n % 3 == 2)
			size -= out ? read(fd, b, piece) : write(fd, b, piece);
	}
	return child;
}

// streams prints the ends of calls of sockets and pipes while ignored signals come: those that have a timeout, and those that wait for all of their bytes.
static void streams(void) {
	static const int ignored[2] = {SIGURG, SIGUSR1}, handled[2] = {SIGURG, SIGUSR2};
	enum { megabyte = 1 << 20 };
	static char b[megabyte];
	struct timeval quarter = {.tv_usec = 250000};
	struct sockaddr_un here = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(sa_family_t);
	int pair[2], ends[2], null = open("/dev/null", O_WRONLY), server = socket(AF_UNIX, SOCK_STREAM, 0), full = socket(AF_UNIX, SOCK_STREAM, 0);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, handler);
	pipe(ends);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &quarter, sizeof quarter);
	setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &quarter, sizeof quarter);
	bind(server, (struct sockaddr *)&here, size);
	listen(server, 0);
	pid_t child = sender(ignored, null);
	ended("recv", recv(pair[0], b, 1, 0), child);
	child = sender(ignored, null);
	ended("read", read(pair[0], b, 1), child);
	struct iovec iov = {b, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	child = sender(ignored, null);
	ended("recvmsg", recvmsg(pair[0], &message, 0), child);
	child = sender(ignored, null);
	ended("accept", accept(server, NULL, NULL), child);
	size = sizeof here;
	getsockname(server, (struct sockaddr *)&here, &size);
	connect(full, (struct sockaddr *)&here, size);
	int late = socket(AF_UNIX, SOCK_STREAM, 0);
	setsockopt(late, SOL_SOCKET, SO_SNDTIMEO, &quarter, sizeof quarter);
	child = sender(ignored, null);
	ended("connect", connect(late, (struct sockaddr *)&here, size), child);
	child = mover(pair[1], 0, 8, 1);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 60}, sizeof quarter);
	ended("recv of all", recv(pair[0], b, 8, MSG_WAITALL), child);
	child = mover(ends[0], 1, megabyte, 1 << 16);
	ended("write to a pipe", write(ends[1], b, megabyte), child);
	child = mover(pair[1], 1, megabyte, 1 << 16);
	ended("write to a socket", write(pair[0], b, megabyte), child);
	child = mover(pair[1], 1, megabyte, 1 << 16);
	ended("send", send(pair[0], b, megabyte, MSG_NOSIGNAL), child);
	pipe(ends);
	child = sender(handled, null);
	int part = write(ends[1], b, megabyte);
	ended("write with a handler", part > 0 && part < megabyte, child);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &quarter, sizeof quarter);
	while (send(pair[0], b, sizeof b, MSG_DONTWAIT) > 0)
		;
	child = sender(ignored, null);
	ended("send with a timeout", send(pair[0], b, 1, 0), child);
	child = sender(handled, null);
	ended("recv with a handler", recv(pair[0], b, 1, 0), child);
}

int main(int argc, char **argv) {
	if (getenv("EXITS"))
		return atoi(getenv("EXITS"));
	if (argc < 2 || !getenv("PROBE"))
		return show(argc, argv);
	char *how = argv[1], *path = argc > 2 ? argv[2] : "";
	char **rest = argv + 2, b[32];
	unsetenv("PROBE");
	sprintf(b, "%d", getpid());
	setenv("SELF", b, 1);
	sprintf(b, "%d", getppid());
	setenv("PARENT", b, 1);
	if (!strcmp(how, "waits")) {
		waits();
		return 0;
	}
	if (!strcmp(how, "streams")) {
		streams();
		return 0;
	}
	if (!strcmp(how, "exec"))
		execv(path, rest);
	else if (!strcmp(how, "argv0"))
		execv(path, rest + 1);
	else if (!strcmp(how, "noargv"))
		execv(path, (char *[]){NULL});
	else if (!strcmp(how, "nullargv"))
		syscall(SYS_execve, path, NULL, NULL);
	else if (!strcmp(how, "cleared"))
		execve(path, rest, (char *[]){NULL});
	else if (!strcmp(how, "badargv"))
		syscall(SYS_execve, path, (char **)8, environ);
	else if (!strcmp(how, "badpath"))
		syscall(SYS_execve, (char *)8, rest, environ);
	else if (!strcmp(how, "at")) {
		int fd = open(path, O_PATH | O_CLOEXEC);
		must(fd >= 0, path);
		return at(fd, argv[3], rest + 1, 0);
	} else if (!strcmp(how, "atcwd"))
		return at(AT_FDCWD, path, rest, 0);
	else if (!strcmp(how, "nofollow"))
		return at(AT_FDCWD, path, rest, AT_SYMLINK_NOFOLLOW);
	else if (!strcmp(how, "badflags"))
		return at(AT_FDCWD, path, rest, 0x40000000);
	else if (!strcmp(how, "badfd"))
		return at(77, path, rest, 0);
	else if (!strcmp(how, "emptyfd"))
		return at(77, "", rest, AT_EMPTY_PATH);
	else if (!strcmp(how, "emptynoflag"))
		return at(0, "", rest, 0);
	else if (!strcmp(how, "fd"))
		return at(open(path, O_RDONLY), "", rest, AT_EMPTY_PATH);
	else if (!strcmp(how, "fdcloexec"))
		return at(open(path, O_RDONLY | O_CLOEXEC), "", rest, AT_EMPTY_PATH);
	else if (!strcmp(how, "fdpath"))
		return at(open(path, O_PATH | O_CLOEXEC), "", rest, AT_EMPTY_PATH);
	else if (!strcmp(how, "memfd"))
		return at(memory(path), "", rest, AT_EMPTY_PATH);
	else if (!strcmp(how, "procfd")) {
		sprintf(b, "/proc/self/fd/%d", open(path, O_RDONLY));
		execv(b, rest);
	} else if (!strcmp(how, "devfd")) {
		sprintf(b, "/dev/fd/%d", open(path, O_RDONLY));
		execv(b, rest);
	} else if (!strcmp(how, "deleted")) {
		sprintf(b, "/proc/self/fd/%d", open(path, O_RDONLY));
		unlink(path);
		execv(b, rest);
	} else if (!strcmp(how, "busy")) {
		must(open(path, O_WRONLY | O_CLOEXEC) >= 0, path);
		execv(path, rest);
	} else if (!strcmp(how, "files")) {
		int fd = open("/dev/null", O_RDONLY);
		dup2(fd, 11);
		fcntl(dup(fd), F_SETFD, FD_CLOEXEC);
		execv(path, rest);
	} else if (!strcmp(how, "nofiles")) {
		while (dup(0) >= 0)
			;
		execv(path, rest);
	} else if (!strcmp(how, "signals")) {
		sigset_t set;
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		sigaddset(&set, SIGTERM);
		sigaddset(&set, 40);
		sigprocmask(SIG_BLOCK, &set, NULL);
		signal(SIGUSR2, SIG_IGN);
		signal(SIGPIPE, SIG_IGN);
		signal(SIGHUP, (void (*)(int))failed);
		execv(path, rest);
	} else if (!strcmp(how, "session")) {
		if (fork() == 0) {
			setsid();
			unsetenv("SELF");
			unsetenv("PARENT");
			execv(path, rest);
		}
		int st;
		wait(&st);
		return WEXITSTATUS(st);
	} else if (!strcmp(how, "thread")) {
		pthread_t t;
		thread_argv = rest;
		pthread_create(&t, NULL, in_thread, path);
		for (;;)
			pause();
	} else if (!strcmp(how, "vforkfails"))
		return vfork_fails(path, rest);
	else if (!strcmp(how, "spawn")) {
		pid_t p;
		errno = posix_spawn(&p, path, NULL, NULL, rest, environ);
		if (errno)
			return failed();
		int st;
		waitpid(p, &st, 0);
		printf("status: %x\n", st);
		return 0;
	} else if (!strcmp(how, "limit"))
		return limit(path);
	else if (!strcmp(how, "pointers"))
		return pointers(path, atoi(argv[3]));
	else if (!strcmp(how, "long")) {
		char *s = malloc(1 << 18);
		memset(s, 'x', (1 << 18) - 1);
		s[(1 << 18) - 1] = 0;
		execv(path, (char *[]){path, s, NULL});
	} else if (!strcmp(how, "longpath")) {
		char *s = malloc(5000);
		memset(s, '/', 4999);
		s[4999] = 0;
		execv(s, rest);
	} else if (!strcmp(how, "user")) {
		must(!setgroups(0, NULL) && !setresgid(65534, 65534, 65534) && !setresuid(100, 100, 100), "user");
		execv(path, rest);
	} else if (!strcmp(how, "keepcaps")) { // until the exec
		struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
		struct __user_cap_data_struct c[2];
		must(!prctl(PR_SET_KEEPCAPS, 1) && !setgroups(0, NULL) && !setresgid(65534, 65534, 65534) && !setresuid(100, 100, 100) && !syscall(SYS_capget, &h, c), "keep");
		c[0].effective = c[0].permitted, c[1].effective = c[1].permitted;
		must(!syscall(SYS_capset, &h, c), "capset");
		execv(path, rest);
	} else if (!strcmp(how, "effective")) {
		must(!setgroups(0, NULL) && !setresgid(-1, 65534, -1) && !setresuid(-1, 100, -1), "user");
		execv(path, rest);
	} else if (!strcmp(how, "chroot")) {
		must(!chroot(path) && !chdir("/"), "chroot");
		execv(argv[3], argv + 3);
	} else if (!strcmp(how, "pivot")) {
		must(!unshare(CLONE_NEWNS) && !mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) && !mount(path, path, NULL, MS_BIND, NULL) && !chdir(path) &&
		         !syscall(SYS_pivot_root, ".", ".") && !umount2(".", MNT_DETACH),
		     "pivot");
		execv(argv[3], argv + 3);
	} else if (!strcmp(how, "noproc")) {
		must(!unshare(CLONE_NEWNS) && !mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) && !umount2("/proc", MNT_DETACH), "umount");
		execv(path, rest);
	} else if (!strcmp(how, "undumpable")) {
		prctl(PR_SET_DUMPABLE, 0);
		execv(path, rest);
	} else if (!strcmp(how, "stays")) { // a failing exec leaves everything as it was
		int before = prctl(PR_GET_DUMPABLE);
		execv(path, rest);
		failed();
		printf("dumpable: %d\n", before == prctl(PR_GET_DUMPABLE));
		files();
		signals();
		return 0;
	} else if (!strcmp(how, "twice")) {
		execv("/nonexistent", rest);
		failed();
		execv(path, rest);
	}
	return failed();
}
