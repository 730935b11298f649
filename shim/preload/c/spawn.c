// posix_spawn, system and popen. For posix_spawn the program's own libc does the work, as only it knows its attributes and actions; it is
// handed the exec that must happen. What libc calls inside itself cannot be hooked: so system and popen are made anew, on vfork.
#include "exec.h"
#include "next.h"

typedef int spawn_function(int *pid, const char *path, const void *actions, const void *attr, char *const argv[], char *const env[]);

enum {
	SIGINT = 2,
	SIGQUIT = 3,
#ifdef __mips__
	SIGCHLD = 18,
	SIGNALS = 127,
#else
	SIGCHLD = 17,
	SIGNALS = 64,
#endif
	SIG_DFL = 0,
	SIG_IGN = 1,
#ifdef __mips__
	SIG_SETMASK = 3,
	KERNEL_SIGSET = 16,
#else
	SIG_SETMASK = 2,
	KERNEL_SIGSET = 8,
#endif
};

typedef struct { unsigned char bytes[16]; } sigset;

extern WEAK __attribute__((returns_twice)) int vfork(void);
extern WEAK void *fdopen(int, const char *);
extern WEAK int fclose(void *);
extern WEAK void *malloc(size_t);
extern WEAK void free(void *);

struct spawn {
	int *pid;
	const char *path;
	const void *actions, *attr;
	char *const *argv;
	char *const *env;
};

// deliver_spawn gives posix_spawn's errno below zero.
static long deliver_spawn(void *context, const char *program, char *const argv[], char *const env[])
{
	const struct spawn *s = context;
	spawn_function *spawn = (spawn_function *)next("posix_spawn");
	return spawn ? -spawn(s->pid, program ? program : s->path, s->actions, s->attr, argv, env) : -ENOSYS;
}

static long spawn_path(void *context, const char *path)
{
	struct spawn *s = context;
	s->path = path;
	return route(path, NULL, s->argv, s->env, deliver_spawn, s);
}

EXPORT int posix_spawn(int *pid, const char *path, const void *actions, const void *attr, char *const argv[], char *const env[])
{
	struct spawn s = {pid, path, actions, attr, argv, env};
	return (int)-spawn_path(&s, path);
}

EXPORT int posix_spawnp(int *pid, const char *file, const void *actions, const void *attr, char *const argv[], char *const env[])
{
	struct spawn s = {pid, NULL, actions, attr, argv, env};
	return (int)-search(file, spawn_path, &s);
}

#if defined __arm__ && __ARM_ARCH < 6
// No instruction for it: the kernel has a function at a fixed address (Documentation/arm/kernel_user_helpers.rst).
static bool take(int *held) { return ((int (*)(int, int, volatile int *))0xffff0fc0)(0, 1, held) == 0; }
static void unlock(int *held)
{
	((void (*)(void))0xffff0fa0)(); // a memory barrier
	*(volatile int *)held = 0;
}
#else
static bool take(int *held) { return !__atomic_exchange_n(held, 1, __ATOMIC_ACQUIRE); }
static void unlock(int *held) { __atomic_store_n(held, 0, __ATOMIC_RELEASE); }
#endif

static void lock(int *held)
{
	while (!take(held))
		SYS(sched_yield, 0, 0, 0, 0, 0);
}

static long wait_for(int pid)
{
	int status;
	long r;
	while ((r = SYS(wait4, pid, &status, 0, 0, 0)) == -EINTR)
		;
	return r < 0 ? r : status;
}

// The kernel's struct sigaction: one that was read is written back as it is, so that only the handler's place has to be known.
union action {
	char bytes[64];
#ifdef __mips__
	struct { long flags; unsigned long handler; } fields; // mips64: an int, and padding
#else
	struct { unsigned long handler; } fields;
#endif
};

static long action_of(int signal, const union action *new, union action *old)
{
	return SYS(rt_sigaction, signal, new, old, KERNEL_SIGSET, 0);
}

// With all signals blocked no handler runs in the child of a vfork, in its parent's memory.
static void block_signals(sigset *old)
{
	sigset all;
	memset(&all, 0xff, sizeof all);
	SYS(rt_sigprocmask, SIG_SETMASK, &all, old, KERNEL_SIGSET, 0);
}

static void unblock_signals(const sigset *old) { SYS(rt_sigprocmask, SIG_SETMASK, old, NULL, KERNEL_SIGSET, 0); }

struct stream {
	struct stream *next;
	void *file;
	int pid, fd;
};

static int streams_lock;
static struct stream *streams;

static union action old_int, old_quit; // while system runs; zero otherwise, which does not ignore

// become_shell is the child: no handlers, the pipe's end as its standard input or output (end -1: none), and without the ends of
// earlier popens.
__attribute__((noinline, noreturn)) static void become_shell(const char *command, int end, int standard, const sigset *mask)
{
	const char *argv[] = {"sh", "-c", "--", command, NULL};
	static const union action normal;
	for (int n = 1; n <= SIGNALS; n++) {
		union action a;
		if (action_of(n, NULL, &a) < 0)
			continue;
		if (n == SIGINT && old_int.fields.handler == SIG_IGN)
			continue;
		if (n == SIGQUIT && old_quit.fields.handler == SIG_IGN)
			continue;
		bool ours = standard < 0 && (n == SIGINT || n == SIGQUIT);
		if (ours || a.fields.handler != SIG_IGN)
			action_of(n, &normal, NULL);
	}
	if (end == standard)
		sys_fcntl(end, F_SETFD, 0);
	else if (end >= 0)
		SYS(dup3, end, standard, 0, 0, 0);
	for (struct stream *s = standard < 0 ? NULL : streams; s; s = s->next)
		if (s->fd != standard)
			sys_close(s->fd);
	unblock_signals(mask);
	if (*command != '-' && *command != '+') {
		argv[2] = command;
		argv[3] = NULL;
	}
	execve("/bin/sh", (char *const *)argv, environment());
	for (;;)
		SYS(exit_group, 127, 0, 0, 0, 0);
}

static int start_shell(const char *command, int end, int standard, const sigset *mask)
{
	int pid = vfork();
	if (pid == 0)
		become_shell(command, end, standard, mask);
	return pid;
}

// While a command of system runs, the process ignores SIGINT and SIGQUIT: the first of several threads that call it at once sets that,
// the last one undoes it.
static int system_lock;
static int system_calls;

static void ignore_keys(void)
{
	union action ignore = {{0}};
	ignore.fields.handler = SIG_IGN;
	lock(&system_lock);
	if (system_calls++ == 0) {
		action_of(SIGINT, &ignore, &old_int);
		action_of(SIGQUIT, &ignore, &old_quit);
	}
	unlock(&system_lock);
}

static void heed_keys(void)
{
	lock(&system_lock);
	if (--system_calls == 0) {
		action_of(SIGINT, &old_int, NULL);
		action_of(SIGQUIT, &old_quit, NULL);
	}
	unlock(&system_lock);
}

EXPORT int system(const char *command)
{
	sigset old, waiting;
	long status = -1;
	if (!command)
		return SYS(faccessat, AT_FDCWD, "/bin/sh", X_OK, 0, 0) == 0;
	ignore_keys();
	block_signals(&old);
	waiting = old;
	waiting.bytes[(SIGCHLD - 1) / 8] |= 1 << (SIGCHLD - 1) % 8;
	int pid = start_shell(command, -1, -2, &old);
	unblock_signals(&waiting);
	if (pid > 0)
		status = wait_for(pid);
	heed_keys();
	unblock_signals(&old);
	return result(status);
}

static void *fail(int errnum)
{
	set_errno(errnum);
	return NULL;
}

static void *open_stream(const char *command, bool reading, bool cloexec)
{
	int ends[2];
	sigset old;
	long r = SYS(pipe2, ends, O_CLOEXEC, 0, 0, 0);
	if (r < 0)
		return fail((int)-r);
	struct stream *s = malloc(sizeof *s);
	int parent = ends[reading ? 0 : 1], child = ends[reading ? 1 : 0];
	if (!s || !(s->file = fdopen(parent, reading ? "r" : "w"))) {
		free(s);
		sys_close(parent);
		sys_close(child);
		return fail(ENOMEM);
	}
	block_signals(&old);
	lock(&streams_lock);
	s->pid = start_shell(command, child, reading ? 1 : 0, &old);
	if (s->pid > 0) {
		s->fd = parent;
		s->next = streams;
		streams = s;
	}
	unlock(&streams_lock);
	unblock_signals(&old);
	sys_close(child);
	if (s->pid < 0) {
		fclose(s->file);
		free(s);
		return NULL;
	}
	if (!cloexec)
		sys_fcntl(parent, F_SETFD, 0);
	return s->file;
}

EXPORT void *popen(const char *command, const char *mode)
{
	bool reading = false, writing = false, cloexec = false;
	for (const char *m = mode; *m; m++) {
		reading |= *m == 'r';
		writing |= *m == 'w';
		cloexec |= *m == 'e';
		if (*m != 'r' && *m != 'w' && *m != 'e')
			return fail(EINVAL);
	}
	return reading == writing ? fail(EINVAL) : open_stream(command, reading, cloexec);
}

EXPORT int pclose(void *file)
{
	struct stream *s = NULL;
	lock(&streams_lock);
	for (struct stream **at = &streams; *at; at = &(*at)->next) {
		if ((*at)->file == file) {
			s = *at;
			*at = s->next;
			break;
		}
	}
	unlock(&streams_lock);
	if (!s) {
		int (*other)(void *) = (int (*)(void *))next("pclose");
		return other ? other(file) : -1;
	}
	int pid = s->pid;
	free(s);
	fclose(file);
	return result(wait_for(pid));
}
