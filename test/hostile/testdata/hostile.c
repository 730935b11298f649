// hostile is a native program that attacks its supervisor, or is only odd. It prints the result.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fuse.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void must(int ok, const char *what) {
	if (!ok) {
		printf("%s: %s\n", what, strerrorname_np(errno));
		fflush(stdout);
		_exit(99);
	}
}

// answer puts a filter on this process that gives a system call another result.
static void answer(long call, unsigned action) {
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, action),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};
	must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "filter");
}

// registers makes a call and reports which of the registers that the kernel keeps have changed.
static long registers(long call, long a, long b, long c, long d, long e) {
#ifdef __x86_64__
	register long r10 asm("r10") = d, r8 asm("r8") = e;
	long di = a, si = b, dx = c, result = call;
	asm volatile("syscall" : "+a"(result), "+D"(di), "+S"(si), "+d"(dx), "+r"(r10), "+r"(r8) : : "rcx", "r11", "memory");
	if (di != a || si != b || dx != c || r10 != d || r8 != e)
		printf("registers have changed\n");
#else
	long result = syscall(call, a, b, c, d, e);
	if (result < 0)
		result = -errno;
#endif
	return result;
}

// executes executes path by one of the two calls, and prints the result, and whether signals and descriptors are as before.
static int executes(const char *how, const char *path, char **argv) {
	long r;
	if (!strcmp(how, "execveat"))
		r = registers(SYS_execveat, AT_FDCWD, (long)path, (long)argv, (long)environ, 0);
	else
		r = registers(SYS_execve, (long)path, (long)argv, (long)environ, 0, 0);
	printf("errno: %s\n", strerrorname_np(-r));
	sigset_t set;
	sigprocmask(SIG_BLOCK, NULL, &set);
	for (int s = 1; s < 65; s++)
		if (sigismember(&set, s) == 1)
			printf("blocked: %d\n", s);
	printf("next descriptor: %d\n", dup(0));
	fflush(stdout);
	return 0;
}

static unsigned action(const char *name) {
	if (!strcmp(name, "trace"))
		return SECCOMP_RET_TRACE | 7;
	if (!strcmp(name, "trap"))
		return SECCOMP_RET_TRAP;
	return SECCOMP_RET_ERRNO | atoi(name);
}

// untraced starts two processes that ask not to be traced: one executes path, the other waits, and is left behind.
static int untraced(char *path) {
	long p = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
	if (p == 0) {
		execl(path, path, NULL);
		printf("errno: %s\n", strerrorname_np(errno));
		_exit(0);
	}
	must(p > 0, "clone");
	waitpid(p, NULL, 0);
	p = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
	if (p == 0)
		for (;;)
			pause();
	printf("left: %ld\n", p);
	return 0;
}

static void note(int s) {}

// serves is a FUSE server, with only the protocol for a look-up and an open of one file. Before it answers a look-up it stops for its tracer, if it has one. It ends with its mount.
static void serves(int fd) {
	static char buf[1 << 17];
	signal(SIGUSR1, note);
	for (;;) {
		ssize_t n = read(fd, buf, sizeof buf);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			_exit(0);
		struct fuse_in_header *in = (void *)buf;
		struct {
			struct fuse_out_header h;
			union {
				struct fuse_init_out init;
				struct fuse_entry_out entry;
				struct fuse_attr_out attr;
			} u;
		} out = {.h.unique = in->unique};
		size_t size = 0;
		switch (in->opcode) {
		case FUSE_INIT:
			out.u.init.major = FUSE_KERNEL_VERSION;
			out.u.init.minor = FUSE_KERNEL_MINOR_VERSION;
			out.u.init.max_write = 4096;
			size = sizeof out.u.init;
			break;
		case FUSE_GETATTR:
			out.u.attr.attr = (struct fuse_attr){.ino = 1, .mode = 040755, .nlink = 2};
			size = sizeof out.u.attr;
			break;
		case FUSE_LOOKUP:
			raise(SIGUSR1);
			out.h.error = -ENOENT;
			break;
		default:
			out.h.error = -ENOSYS;
		}
		out.h.len = sizeof out.h + size;
		if (in->opcode != FUSE_FORGET)
			write(fd, &out, out.h.len);
	}
}

// fuse executes a file of a file system that this process serves.
static int fuse(const char *dir) {
	must(!unshare(CLONE_NEWNS) && !mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL), "unshare");
	int fd = open("/dev/fuse", O_RDWR);
	must(fd >= 0, "/dev/fuse");
	char options[100], path[4096];
	sprintf(options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	must(!mount("test", dir, "fuse", 0, options), "mount");
	if (fork() == 0)
		serves(fd);
	close(fd);
	sprintf(path, "%s/program", dir);
	char *argv[] = {path, NULL};
	return executes("execve", path, argv);
}

// fault executes a path on a page that this process never delivers.
static int fault(void) {
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	must(fd >= 0, "userfaultfd");
	struct uffdio_api api = {.api = UFFD_API};
	must(!ioctl(fd, UFFDIO_API, &api), "UFFDIO_API");
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register all = {.range = {(uintptr_t)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	must(!ioctl(fd, UFFDIO_REGISTER, &all), "UFFDIO_REGISTER");
	if (fork() == 0) { // so that it outlives the process
		close(1);
		close(2);
		pause();
	}
	char *argv[] = {page, NULL};
	return executes("execve", page, argv);
}

static char *code;
static volatile pid_t caller;
static int circle;

// withdraws removes the caller's code, or makes it an endless loop, as soon as the caller stops for its tracer.
static void *withdraws(void *nothing) {
	char name[50], stat[100];
	while (!caller)
		;
	sprintf(name, "/proc/self/task/%d/stat", caller);
	int fd = open(name, O_RDONLY);
	do
		stat[pread(fd, stat, sizeof stat - 1, 0)] = 0;
	while (strncmp(strrchr(stat, ')'), ") t", 3));
	if (circle)
		memcpy(code, "\xeb\xfe", 2);
	else
		mprotect(code, 4096, PROT_NONE);
	for (;;)
		pause();
}

// change makes a call from code that another thread changes during the call. If the call is over
// and is made again, the endless loop is the program's own, and nobody's business: an alarm ends it.
static void change(const char *path) {
	alarm(50);
	static const char instructions[] = "\x0f\x05\xc3"; // syscall; ret
	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(code, instructions, sizeof instructions);
	pthread_t other;
	pthread_create(&other, NULL, withdraws, NULL);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *argv[] = {(char *)path, NULL};
	usleep(20000);
	caller = getpid();
	usleep(20000);
#ifdef __x86_64__
	register long r10 asm("r10") = (long)environ, r8 asm("r8") = AT_EMPTY_PATH;
	long result = SYS_execveat;
	asm volatile("call *%1" : "+a"(result) : "r"(code), "D"(fd), "S"(""), "d"(argv), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
#endif
	_exit(1);
}

// changes repeats change until the other thread was in time, and prints how the process ended.
static int changes(const char *how, const char *path) {
	circle = !strcmp(how, "circle");
	for (int i = 0; i < 500; i++) {
		int st;
		pid_t p = fork();
		if (p == 0) {
			dup2(open("/dev/null", O_WRONLY), 1);
			change(path);
		}
		waitpid(p, &st, 0);
		if (WIFSIGNALED(st) && WTERMSIG(st) != SIGSEGV && WTERMSIG(st) != SIGALRM) {
			printf("signal %d\n", WTERMSIG(st));
			return 0;
		}
	}
	printf("never in time\n");
	return 0;
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	must(argc > 2, "arguments");
	const char *how = argv[1];
	if (!strcmp(how, "filter")) { // CALL ACTION HOW PROGRAM ...: CALL gets another result, and HOW executes PROGRAM
		answer(!strcmp(argv[2], "execve") ? SYS_execve : !strcmp(argv[2], "execveat") ? SYS_execveat : SYS_close, action(argv[3]));
		return executes(argv[4], argv[5], argv + 5);
	}
	if (!strcmp(how, "untraced")) // PROGRAM
		return untraced(argv[2]);
	if (!strcmp(how, "fuse")) // DIRECTORY
		return fuse(argv[2]);
	if (!strcmp(how, "fault"))
		return fault();
	if (!strcmp(how, "changes")) // HOW PROGRAM
		return changes(argv[2], argv[3]);
	return 98;
}
