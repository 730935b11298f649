// The exec hook: every exec function of the program's libc ends in route.
//
// What runs here may be a child of vfork, which shares its parent's memory: nothing but the stack is written to.
#include "exec.h"

extern WEAK const char *gnu_get_libc_version(void);

// The constructor: glibc hands it the environment; others have set environ by now.
__attribute__((constructor)) static void start(int argc, char **argv, char **env)
{
	(void)argc, (void)argv;
	remember(&gnu_get_libc_version ? env : environment(), "exec.so");
}

static size_t count(char *const list[])
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

static bool has_entry(const char *list, const char *entry)
{
	const char *rest;
	for (; *list; list++) {
		if ((rest = after(list, entry)) && (!*rest || *rest == ':' || *rest == ' '))
			return true;
		while (*list && *list != ':' && *list != ' ')
			list++;
		if (!*list)
			break;
	}
	return false;
}

// put_back writes LD_PRELOAD as the new program must have it: what it has, then what of ours is missing, so that the hooks of
// others come before ours and end in it. It gives false where nothing is missing.
static bool put_back(char *to, const char *value)
{
	bool missing = false;
	to = put_text(to, "LD_PRELOAD=");
	to = put_text(to, value);
	for (int i = 0; i < 2 && own[i]; i++) {
		if (has_entry(value, own[i]))
			continue;
		if (missing || *value)
			to = put_text(to, ":");
		to = put_text(to, own[i]);
		missing = true;
	}
	*to = 0;
	return missing;
}

// is_own_exe tells the names of the link that names the running program: the kernel would take the emulator for it.
static bool is_own_exe(const char *path)
{
	char mine[32];
	*put_text(put_number(put_text(mine, "/proc/"), SYS(getpid, 0, 0, 0, 0, 0)), "/exe") = 0;
	return same(path, "/proc/self/exe") || same(path, "/proc/thread-self/exe") || same(path, mine);
}

static void say(const char *path, const char *why)
{
	char line[2 * PATH_MAX], *to = line;
	if (length(path) > PATH_MAX)
		return;
	to = put_text(put_text(put_text(put_text(to, "binproxy: preload: "), path), ": "), why);
	to = put_text(put_text(put_text(to, " "), bundle_dir), "; is this a chroot? The bundle has to be in it\n");
	sys_write(2, line, to - line);
}

static bool loader_variable(const char *entry)
{
	if (!after(entry, "LD_") && !after(entry, "GLIBC_TUNABLES="))
		return false;
	return !contains(entry, ","); // QEMU's -E would split it
}

// carry_out lays the new vectors out on the stack.
static long carry_out(struct plan *p, char *const argv[], char *const env[], deliver *out, void *context)
{
	size_t args = count(argv), vars = count(env), n = 0, m = 0;
	const char *value = variable(env, "LD_PRELOAD");
	if (!value)
		value = "";
	char preload[sizeof "LD_PRELOAD=" + length(value) + (own[0] ? length(own[0]) + 1 : 0) + (own[1] ? length(own[1]) + 1 : 0)];
	const char *new_argv[p->count + 2 * (p->dynamic ? vars + 1 : 0) + args + 1];
	const char *new_env[vars + 2];
	bool changed = put_back(preload, value), placed = !changed;
	for (size_t i = 0; i < vars; i++) {
		const char *entry = env[i];
		if (changed && after(entry, "LD_PRELOAD=")) {
			if (placed)
				continue;
			entry = preload;
			placed = true;
		}
		new_env[m++] = entry;
	}
	if (!placed)
		new_env[m++] = preload;
	for (int i = 0; i < p->options; i++)
		new_argv[n++] = p->words[i];
	if (p->dynamic) {
		// A dynamic emulator would obey these itself: they go to the guest alone.
		size_t kept = 0;
		for (size_t i = 0; i < m; i++) {
			if (!loader_variable(new_env[i])) {
				new_env[kept++] = new_env[i];
				continue;
			}
			new_argv[n++] = "-E";
			new_argv[n++] = new_env[i];
		}
		m = kept;
	}
	for (int i = p->options; i < p->count; i++)
		new_argv[n++] = p->words[i];
	for (size_t i = 1; i < args; i++)
		new_argv[n++] = argv[i];
	new_argv[n] = new_env[m] = NULL;
	return out(context, p->program, (char *const *)new_argv, (char *const *)new_env);
}

long route(const char *path, const char *name, char *const argv[], char *const env[], deliver *out, void *context)
{
	struct plan p;
	char exe[PATH_MAX];
	if (!path)
		return -14; // EFAULT
	if (is_own_exe(path) && read_link(path, exe, sizeof exe) > 0)
		path = exe;
	int errnum = resolve(&p, path, name, argv && argv[0] ? argv[0] : "", env);
	if (errnum)
		return -errnum;
	if (!p.guest && !p.moved) {
		// The kernel's own affair, with the very path and arguments that it was asked for.
		p.program = NULL;
		p.count = argv && argv[0] ? 1 : 0;
		p.words[0] = p.count ? argv[0] : NULL;
	}
	long r = carry_out(&p, argv, env, out, context);
	if ((r == -ENOENT && p.guest && file_mode(p.program, 0) == -ENOENT) || (r == -ENOEXEC && p.lost))
		say(p.file, "its emulator is not in");
	return r;
}

static long deliver_execve(void *context, const char *program, char *const argv[], char *const env[])
{
	return SYS(execve, program ? program : context, argv, env, 0, 0);
}

EXPORT int execve(const char *path, char *const argv[], char *const env[])
{
	return result(route(path, NULL, argv, env, deliver_execve, (void *)path));
}

EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, environment()); }

struct at {
	int fd, flags;
	const char *path;
	char *const *argv;
	char *const *env;
	const char *plain; // a path to the file
};

static long deliver_execveat(void *context, const char *program, char *const argv[], char *const env[])
{
	const struct at *at = context;
	if (program)
		return SYS(execve, program, argv, env, 0, 0);
	long r = SYS(execveat, at->fd, at->path, argv, env, at->flags);
	return r == -ENOSYS ? SYS(execve, at->plain, argv, env, 0, 0) : r; // QEMU before 8, Linux before 3.19
}

static long route_at(struct at *at, const char *path, const char *name)
{
	at->plain = path;
	return route(path, name, at->argv, at->env, deliver_execveat, at);
}

// by_fd is execveat with an empty path. An emulator opens its file by a path: the one that the descriptor was opened by, or, of a file
// that has none (any more), that of a duplicate that stays open across the exec.
static long by_fd(struct at *at)
{
	char link[32], real[PATH_MAX], name[32];
	*put_number(put_text(link, "/proc/self/fd/"), at->fd) = 0;
	*put_number(put_text(name, "/dev/fd/"), at->fd) = 0;
	long flags = sys_fcntl(at->fd, F_GETFD, 0);
	if (flags < 0)
		return flags;
	long n = read_link(link, real, sizeof real);
	if (n < 0)
		return n;
	const char deleted[] = " (deleted)";
	bool nameless = real[0] != '/' || (n > 10 && same(real + n - 10, deleted));
	unsigned char head[2];
	if ((flags & FD_CLOEXEC) && read_file(link, head, 2) == 2 && head[0] == '#' && head[1] == '!')
		return -ENOENT; // its interpreter could not open it
	if (!nameless)
		return route_at(at, real, name);
	if (!(flags & FD_CLOEXEC))
		return route_at(at, link, name);
	long copy = sys_fcntl(at->fd, F_DUPFD, 0);
	if (copy < 0)
		return copy;
	*put_number(put_text(link, "/proc/self/fd/"), copy) = 0;
	long r = route_at(at, link, name);
	sys_close((int)copy);
	return r;
}

static long at(struct at *at)
{
	char dir[PATH_MAX + NAME_MAX], link[32], name[PATH_MAX];
	const char *path = at->path;
	if (at->flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (!*path)
		return at->flags & AT_EMPTY_PATH ? by_fd(at) : -ENOENT;
	size_t n = length(path);
	if (n >= PATH_MAX - 40)
		return -ENAMETOOLONG;
	bool relative = *path != '/' && at->fd != AT_FDCWD;
	char *to = dir;
	if (relative) {
		*put_number(put_text(link, "/proc/self/fd/"), at->fd) = 0;
		long r = read_link(link, dir, PATH_MAX - 1 - n);
		if (r < 0)
			return r == -ENOENT ? -EBADF : r;
		to += r;
		*to++ = '/';
	}
	*put_text(to, path) = 0;
	if (at->flags & AT_SYMLINK_NOFOLLOW) {
		long mode = file_mode(dir, AT_SYMLINK_NOFOLLOW);
		if (mode >= 0 && (mode & S_IFMT) == S_IFLNK)
			return -ELOOP;
	}
	if (!relative)
		return route_at(at, path, NULL);
	*put_text(put_text(put_number(put_text(name, "/dev/fd/"), at->fd), "/"), path) = 0;
	return route(dir, name, at->argv, at->env, deliver_execveat, at);
}

EXPORT int execveat(int fd, const char *path, char *const argv[], char *const env[], int flags)
{
	struct at a = {fd, flags, path, argv, env, NULL};
	return result(at(&a));
}

EXPORT int fexecve(int fd, char *const argv[], char *const env[])
{
	struct at a = {fd, AT_EMPTY_PATH, "", argv, env, NULL};
	return fd < 0 || !argv || !env ? result(-EINVAL) : result(at(&a));
}

long search(const char *file, attempt *try, void *context)
{
	char path[PATH_MAX + NAME_MAX + 2];
	const char *list = variable(environment(), "PATH");
	size_t n = length(file);
	long r = -ENOENT;
	bool refused = false;
	if (!*file)
		return -ENOENT;
	if (last_slash(file))
		return try(context, file);
	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	if (!list)
		list = &gnu_get_libc_version ? "/bin:/usr/bin" : "/usr/local/bin:/bin:/usr/bin";
	for (;; list++) {
		char *to = path;
		while (*list && *list != ':' && to < path + PATH_MAX)
			*to++ = *list++;
		if (!*list || *list == ':') {
			if (to > path)
				*to++ = '/';
			*put_text(to, file) = 0;
			r = try(context, path);
			refused |= r == -EACCES;
			if (r >= 0 || (r != -ENOENT && r != -ENOTDIR && r != -EACCES && r != -ESTALE && r != -ENODEV && r != -ETIMEDOUT))
				return r;
		} else {
			while (*list && *list != ':')
				list++; // longer than any path
		}
		if (!*list)
			return refused ? -EACCES : r;
	}
}

struct call {
	char *const *argv;
	char *const *env;
};

// with_shell is execvp's way with a file that is neither ELF nor script: glibc has the shell read it, musl does not.
static long with_shell(void *context, const char *path)
{
	const struct call *c = context;
	long r = route(path, NULL, c->argv, c->env, deliver_execve, (void *)path);
	if (r != -ENOEXEC || !&gnu_get_libc_version)
		return r;
	size_t n = count(c->argv);
	const char *argv[n + 3];
	argv[0] = "/bin/sh";
	argv[1] = path;
	for (size_t i = 1; i < n; i++)
		argv[i + 1] = c->argv[i];
	argv[n > 1 ? n + 1 : 2] = NULL;
	return route("/bin/sh", NULL, (char *const *)argv, c->env, deliver_execve, "/bin/sh");
}

EXPORT int execvpe(const char *file, char *const argv[], char *const env[])
{
	struct call c = {argv, env};
	return result(search(file, with_shell, &c));
}

EXPORT int execvp(const char *file, char *const argv[]) { return execvpe(file, argv, environment()); }

// variadic makes a vector of the arguments on the stack; for execle the environment follows it.
enum form { PATH_FORM, FILE_FORM, ENV_FORM };

static int variadic(enum form form, const char *path, const char *first, va_list args)
{
	size_t n = 0;
	va_list again;
	va_copy(again, args);
	for (const char *s = first; s; s = va_arg(again, const char *))
		n++;
	va_end(again);
	const char *argv[n + 1];
	argv[0] = first;
	for (size_t i = 1; i <= n; i++)
		argv[i] = va_arg(args, const char *);
	if (form == FILE_FORM)
		return execvp(path, (char *const *)argv);
	return execve(path, (char *const *)argv, form == ENV_FORM ? va_arg(args, char *const *) : environment());
}

#define VARIADIC(name, form) \
	EXPORT int name(const char *path, const char *first, ...) \
	{ \
		va_list args; \
		va_start(args, first); \
		int r = variadic(form, path, first, args); \
		va_end(args); \
		return r; \
	}

VARIADIC(execl, PATH_FORM)
VARIADIC(execlp, FILE_FORM)
VARIADIC(execle, ENV_FORM)
