// The exec hook: every exec function of the program's libc ends in route.
//
// This code may run in a child of vfork, which shares its parent's memory: it writes only to the
// stack.
#include "exec.h"

// Our entries in LD_PRELOAD at the program's start: the program may change its environment.
static char own[2][DIR_MAX];

__attribute__((constructor)) static void start(int argc, char **argv, char **env)
{
	(void)argc, (void)argv;
	env = first_environment(env);
	remember(env, "/exec.so", own[0]);
	remember(env, "/uname.so", own[1]);
}

size_t count(char *const list[])
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

const char **append(const char **to, char *const list[])
{
	while (list && *list)
		*to++ = *list++;
	*to = NULL;
	return to;
}

const char **append_arguments(const char **to, char *const argv[]) { return append(to, argv && *argv ? argv + 1 : NULL); }

// put_back writes LD_PRELOAD for the new program: its present value, then our missing entries, so
// that the hooks of others come before ours and call on into them. It gives false if it would be
// empty.
static bool put_back(char *to, const char *value)
{
	char *start = put(to, "LD_PRELOAD="), *end = put(start, value);
	for (int i = 0; i < 2; i++)
		if (*own[i] && !find(value, own[i]))
			end = put(put(end, end == start ? "" : ":"), own[i]);
	return end != start;
}

static bool loader_variable(const char *entry)
{
	return (after(entry, "LD_") || after(entry, "GLIBC_TUNABLES=")) && !find(entry, ","); // QEMU's -E would split it
}

long carry_out(const struct call *c, const char *const words[], bool dynamic, const char *file, char *const argv[])
{
	const char *value = variable(c->env, "LD_PRELOAD=");
	if (!value)
		value = "";
	size_t vars = count(c->env);
	char preload[length(value) + sizeof own + 16];
	const char *new_env[vars + 2], *new_argv[16 + 2 * vars + count(argv)], **var = new_env, **arg = append(new_argv, (char *const *)words);
	char *const *env = c->env;
	const char *entry = put_back(preload, value) ? preload : NULL;
	for (; entry || (env && *env); entry = NULL) {
		if (!entry && after(entry = *env++, "LD_PRELOAD="))
			continue;
		if (dynamic && loader_variable(entry)) {
			*arg++ = "-E";
			*arg++ = entry;
		} else {
			*var++ = entry;
		}
	}
	*var = NULL;
	if (words) {
		*arg++ = file;
		append_arguments(arg, argv);
		argv = (char *const *)new_argv;
		file = words[0];
	}
	if (c->spawn)
		return -c->spawn(c->pid, file, c->actions, c->attr, argv, (char *const *)new_env);
	return SYS(execve, file, argv, new_env);
}

EXPORT int execve(const char *path, char *const argv[], char *const env[])
{
	struct call c = {.argv = argv, .env = env};
	return result(route(&c, path));
}

EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, environment()); }

// dev_fd writes the path of an open file, or of one in an open directory.
static char *dev_fd(char *to, long fd) { return put_number(put(to, "/dev/fd/"), fd); }

// exec_at is execveat by a path. An emulator opens its file by a path, as the kernel makes a
// script's interpreter do: by /dev/fd/N, unless that is close-on-exec. Then it is the path by
// which the descriptor was opened, or, for a file that has no path (any more), that of a
// duplicate.
static long exec_at(const struct call *c, long fd, const char *path, unsigned long flags)
{
	char name[PATH_MAX + 32], real[2 * PATH_MAX], *end = name;
	const char *slash = "";
	unsigned char head[2];
	long closed = 0, r = 0;
	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (!*path && !(flags & AT_EMPTY_PATH))
		return -ENOENT;
	if (length(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (*path != '/' && !(*path && fd == AT_FDCWD)) {
		closed = sys_fcntl(fd, F_GETFD, 0);
		if (closed < 0)
			return closed;
		end = dev_fd(name, fd);
		if (closed && (r = read_link(name, real, PATH_MAX)) < 0)
			return r;
		if (*path)
			slash = "/";
	}
	put(put(end, slash), path);
	if (*path && (flags & AT_SYMLINK_NOFOLLOW) && (file_mode(name, AT_SYMLINK_NOFOLLOW) & S_IFMT) == S_IFLNK)
		return -ELOOP;
	if (!closed)
		return route(c, name);
	if (read_file(name, head, 2) == 2 && head[0] == '#' && head[1] == '!')
		return -ENOENT; // its interpreter could not open it
	put(put(real + r, slash), path);
	if (file_mode(real, 0) >= 0)
		return route(c, real);
	long copy = sys_fcntl(fd, F_DUPFD, 0);
	if (copy < 0)
		return copy;
	put(put(dev_fd(name, copy), slash), path);
	r = route(c, name);
	sys_close(copy);
	return r;
}

EXPORT int execveat(int fd, const char *path, char *const argv[], char *const env[], int flags)
{
	struct call c = {.argv = argv, .env = env};
	return result(exec_at(&c, fd, path, flags));
}

EXPORT int fexecve(int fd, char *const argv[], char *const env[])
{
	return fd < 0 || !argv || !env ? result(-EINVAL) : execveat(fd, "", argv, env, AT_EMPTY_PATH);
}

static long attempt(const struct call *c, const char *path, bool with_shell)
{
	long r = route(c, path);
	if (r != -ENOEXEC || !with_shell || !is_glibc())
		return r;
	const char *argv[count(c->argv) + 3];
	argv[0] = "/bin/sh";
	argv[1] = path;
	append_arguments(argv + 2, c->argv);
	struct call shell = {.argv = (char *const *)argv, .env = c->env};
	return route(&shell, "/bin/sh");
}

long search(const struct call *c, const char *file, bool with_shell)
{
	char path[PATH_MAX + NAME_MAX + 2];
	const char *list = variable(environment(), "PATH=");
	long r = -ENOENT;
	bool refused = false;
	if (!*file)
		return r;
	if (last_slash(file))
		return attempt(c, file, with_shell);
	if (length(file) > NAME_MAX)
		return -ENAMETOOLONG;
	if (!list)
		list = is_glibc() ? "/bin:/usr/bin" : "/usr/local/bin:/bin:/usr/bin";
	for (;; list++) {
		char *end = path;
		for (; *list && *list != ':'; list++)
			if (end < path + PATH_MAX)
				*end++ = *list;
		if (end < path + PATH_MAX) { // what is longer than any path is no directory
			put(put(end, end == path ? "" : "/"), file);
			r = attempt(c, path, with_shell);
			switch (r) {
			case -EACCES:
				refused = true;
				// fall through
			case -ENOENT:
			case -ENOTDIR:
			case -ESTALE:
			case -ENODEV:
			case -ETIMEDOUT:
				break;
			default:
				return r;
			}
		}
		if (!*list)
			return refused ? -EACCES : r;
	}
}

EXPORT int execvpe(const char *file, char *const argv[], char *const env[])
{
	struct call c = {.argv = argv, .env = env};
	return result(search(&c, file, true));
}

EXPORT int execvp(const char *file, char *const argv[]) { return execvpe(file, argv, environment()); }

// variadic makes a vector of the arguments on the stack; for execle the environment follows it.
enum form { PATH_FORM, FILE_FORM, ENV_FORM };

static int variadic(enum form form, const char *path, const char *first, va_list args)
{
	size_t n = 1;
	va_list again;
	va_copy(again, args);
	if (first)
		while (va_arg(again, const char *))
			n++;
	va_end(again);
	const char *argv[n + 1];
	argv[0] = first;
	for (size_t i = 1; first && i <= n; i++)
		argv[i] = va_arg(args, const char *);
	struct call c = {.argv = (char *const *)argv, .env = form == ENV_FORM ? va_arg(args, char *const *) : environment()};
	return result(form == FILE_FORM ? search(&c, path, true) : route(&c, path));
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
