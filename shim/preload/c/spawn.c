// posix_spawn, system and popen. For posix_spawn the program's own libc does the work, since only
// it knows its attributes and actions; it gets the exec that must happen. libc's calls inside
// itself cannot be hooked, so system and popen are written anew.
#include "exec.h"
#include "next.h"

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

extern WEAK void *fdopen(int, const char *);
extern WEAK int fclose(void *);

static __attribute__((noinline)) long spawn(struct call *c, const char *path, bool in_path)
{
	c->spawn = (spawn_function *)next("posix_spawn");
	if (!c->spawn)
		return ENOSYS;
	return -(in_path ? search(c, path, false) : route(c, path));
}

EXPORT int posix_spawn(int *pid, const char *path, const void *actions, const void *attr, char *const argv[], char *const env[])
{
	struct call c = {argv, env, NULL, pid, actions, attr};
	return spawn(&c, path, false);
}

EXPORT int posix_spawnp(int *pid, const char *file, const void *actions, const void *attr, char *const argv[], char *const env[])
{
	struct call c = {argv, env, NULL, pid, actions, attr};
	return spawn(&c, file, true);
}

// One lock for everything that this file keeps; it is held for moments.
static int held;

#if defined __arm__ && __ARM_ARCH < 6
// There is no instruction for it: the kernel has a function at a fixed address
// (Documentation/arm/kernel_user_helpers.rst).
static bool take(void) { return ((int (*)(int, int, volatile int *))0xffff0fc0)(0, 1, &held) == 0; }
static void unlock(void)
{
	((void (*)(void))0xffff0fa0)(); // a memory barrier
	*(volatile int *)&held = 0;
}
#else
static bool take(void) { return !__atomic_exchange_n(&held, 1, __ATOMIC_ACQUIRE); }
static void unlock(void) { __atomic_store_n(&held, 0, __ATOMIC_RELEASE); }
#endif

static void lock(void)
{
	while (!take())
		SYS(sched_yield, 0);
}

static long wait_for(long pid)
{
	int status;
	long r;
	do
		r = SYS(wait4, pid, &status, 0, 0);
	while (r == -EINTR);
	return r < 0 ? r : status;
}

// The kernel's struct sigaction. What was read is written back unchanged, so only the handler's
// place has to be known.
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
	return SYS(rt_sigaction, signal, new, old, KERNEL_SIGSET);
}

static void set_mask(const sigset *mask, sigset *old) { SYS(rt_sigprocmask, SIG_SETMASK, mask, old, KERNEL_SIGSET); }

static void block_signals(sigset *old)
{
	sigset all;
	memset(&all, 0xff, sizeof all);
	set_mask(&all, old);
}

static union action old_int, old_quit; // while system runs
static union action standard_action, ignoring; // zero is SIG_DFL

// become_shell runs in the child. No handler of the program's may run there, so they are removed
// before the signals come through. The pipe's end is its standard input or output; system's child
// has none (end -1), and obeys the keys that its parent ignores.
static void become_shell(const char *command, int end, int standard, const sigset *mask)
{
	const char *argv[] = {"sh", "-c", "--", command, NULL};
	struct call c = {.argv = (char *const *)argv, .env = environment()};
	if (end < 0) {
		action_of(SIGINT, &old_int, NULL);
		action_of(SIGQUIT, &old_quit, NULL);
	} else if (end == standard) {
		sys_fcntl(end, F_SETFD, 0);
	} else {
		SYS(dup3, end, standard, 0);
	}
	for (int n = 1; n <= SIGNALS; n++) {
		union action a;
		if (action_of(n, NULL, &a) == 0 && a.fields.handler != SIG_IGN)
			action_of(n, &standard_action, NULL);
	}
	set_mask(mask, NULL);
	route(&c, "/bin/sh");
	for (;;)
		SYS(exit_group, 127);
}

// start_shell gives the pid, or an errno below zero. It forks: code without a libc cannot leave a
// vfork's frame to its child.
static long start_shell(const char *command, int end, int standard, const sigset *mask)
{
#ifdef __s390x__
	long pid = SYS(clone, 0, SIGCHLD, 0, 0);
#else
	long pid = SYS(clone, SIGCHLD, 0, 0, 0);
#endif
	if (pid == 0)
		become_shell(command, end, standard, mask);
	return pid;
}

// While a command of system runs, the process ignores SIGINT and SIGQUIT: of several threads that
// call it at once, the first one sets that and the last one undoes it.
static int system_calls;

static void ignore_keys(void)
{
	ignoring.fields.handler = SIG_IGN;
	lock();
	if (system_calls++ == 0) {
		action_of(SIGINT, &ignoring, &old_int);
		action_of(SIGQUIT, &ignoring, &old_quit);
	}
	unlock();
}

static void heed_keys(void)
{
	lock();
	if (--system_calls == 0) {
		action_of(SIGINT, &old_int, NULL);
		action_of(SIGQUIT, &old_quit, NULL);
	}
	unlock();
}

EXPORT int system(const char *command)
{
	sigset old, waiting;
	if (!command)
		return SYS(faccessat, AT_FDCWD, "/bin/sh", X_OK) == 0;
	ignore_keys();
	block_signals(&old);
	waiting = old;
	waiting.bytes[(SIGCHLD - 1) / 8] |= 1 << (SIGCHLD - 1) % 8;
	long status = start_shell(command, -1, 0, &old);
	set_mask(&waiting, NULL);
	if (status > 0)
		status = wait_for(status);
	heed_keys();
	set_mask(&old, NULL);
	return result(status);
}

// The open streams of popen: as many as the usual limit of a process's files.
static struct stream {
	void *file;
	long pid;
} streams[1024];

static struct stream *find_stream(void *file)
{
	for (struct stream *s = streams; s < streams + sizeof streams / sizeof *streams; s++)
		if (s->file == file)
			return s;
	return NULL;
}

// start_stream gives an errno below zero.
static long start_stream(void *file, const char *command, int end, int standard)
{
	sigset old;
	long r = -EMFILE;
	block_signals(&old);
	lock();
	struct stream *s = find_stream(file); // one that was closed by fclose
	if (s || (s = find_stream(NULL))) {
		r = s->pid = start_shell(command, end, standard, &old);
		s->file = r < 0 ? NULL : file;
	}
	unlock();
	set_mask(&old, NULL);
	return r;
}

// The parent's end stays close-on-exec whatever the mode says, so that no later command has it.
EXPORT void *popen(const char *command, const char *mode)
{
	int ends[2];
	bool reading = *mode == 'r';
	long r = reading || *mode == 'w' ? SYS(pipe2, ends, O_CLOEXEC) : -EINVAL;
	void *file = NULL;
	if (r >= 0) {
		file = fdopen(ends[!reading], reading ? "r" : "w");
		r = file ? start_stream(file, command, ends[reading], reading) : -ENOMEM;
		sys_close(ends[reading]);
		if (!file)
			sys_close(ends[!reading]);
	}
	if (r >= 0)
		return file;
	if (file)
		fclose(file);
	result(r);
	return NULL;
}

EXPORT int pclose(void *file)
{
	long pid = -1;
	lock();
	struct stream *s = find_stream(file);
	if (s) {
		pid = s->pid;
		s->file = NULL;
	}
	unlock();
	if (pid < 0)
		return result(-ECHILD);
	fclose(file);
	return result(wait_for(pid));
}
