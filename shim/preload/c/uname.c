// The uname hook: the answer of uname(2), and the files of /proc that repeat it, with the bundle's
// identity.
#include "bundle.h"
#include "next.h"

enum { FIELD = 65, TEXT = 1024 }; // struct utsname; more than /proc/version has

enum field { SYSNAME, NODENAME, RELEASE, VERSION, MACHINE, DOMAIN, FIELDS };

typedef char names[FIELDS][FIELD];

extern WEAK void *fdopen(int, const char *);

static const char *const keys[] = {"sysname", "nodename", "release", "version", "machine"};
static const char *const variables[] = {"BINPROXY_SYSNAME=", "BINPROXY_NODENAME=", "BINPROXY_RELEASE=", "BINPROXY_VERSION=", "BINPROXY_MACHINE="};

static struct conf conf;

__attribute__((constructor)) static void start(int argc, char **argv, char **env)
{
	(void)argc, (void)argv;
	static char entry[DIR_MAX];
	remember(first_environment(env), "/uname.so", entry);
	load_conf(&conf);
}

static const char *from_env(enum field f)
{
	const char *value = variable(environment(), variables[f]);
	return value && *value ? value : NULL;
}

// spoofed is the field's value, NULL if nobody set it: identity.Chosen in C. A release without a
// version of its own brings one, and the environment's release drops the file's version of another
// release.
static const char *spoofed(enum field f)
{
	const char *env = from_env(f), *file = conf_value(&conf, keys[f]);
	if (env)
		return env;
	if (f != VERSION)
		return file;
	const char *release = from_env(RELEASE), *other = conf_value(&conf, keys[RELEASE]);
	if (release && other && !same(release, other))
		file = NULL;
	return file ? file : release || other ? "#1 SMP" : NULL;
}

static int real_uname(names out) { return result(SYS(uname, out)); }

EXPORT int uname(names out)
{
	if (real_uname(out) < 0)
		return -1;
	for (enum field f = SYSNAME; f <= MACHINE; f++) {
		const char *value = spoofed(f);
		size_t n = value ? length(value) : 0;
		if (!value || n >= FIELD)
			continue;
		memset(out[f], 0, FIELD);
		memcpy(out[f], value, n);
	}
	return 0;
}

// glibc's gethostname calls its own uname, which cannot be hooked.
EXPORT int gethostname(char *name, size_t size)
{
	names all;
	if (uname(all) < 0)
		return -1;
	size_t n = length(all[NODENAME]) + 1;
	memcpy(name, all[NODENAME], n < size ? n : size);
	if (n <= size)
		return 0;
	set_errno(ENAMETOOLONG);
	return -1;
}

// proc_version is the kernel's line with three parts replaced: the text between release and
// version (who compiled it, with what) stays.
static char *proc_version(char *to)
{
	char real[TEXT];
	names all;
	long n = read_file("/proc/version", real, sizeof real - 1);
	if (real_uname(all) < 0 || uname(all) < 0)
		return to;
	to = put(put(put(to, all[SYSNAME]), " version "), all[RELEASE]);
	real[n > 0 ? n : 0] = 0;
	char *from = real, *end = real;
	while (*from && !after(from, " ("))
		from++;
	for (char *s = from; *s; s++)
		if (after(s, " #"))
			end = s;
	if (end > from) {
		*end = 0;
		to = put(to, from);
	}
	return put(put(put(to, " "), all[VERSION]), "\n");
}

// content writes the new content of the file at path, and gives its end. It gives NULL if the path
// is not one of the identity's, and to itself if the file should not exist.
static char *content(const char *path, char *to)
{
	static const char names[][10] = {"ostype", "hostname", "osrelease", "version"};
	bool kernel = spoofed(SYSNAME) || spoofed(RELEASE) || spoofed(VERSION);
	const char *name = after(path, "/proc/"), *value;
	if (file_mode(path, 0) < 0)
		return NULL;
	if (same(name, "version"))
		return kernel ? proc_version(to) : NULL;
	if (same(name, "version_signature")) // Ubuntu's, with the true release
		return kernel ? to : NULL;
	name = after(name, "sys/kernel/");
	for (enum field f = SYSNAME; name && f <= VERSION; f++)
		if (same(name, names[f]) && (value = spoofed(f)) && length(value) < FIELD)
			return put(put(to, value), "\n");
	return NULL;
}

// memory is a descriptor of a file in memory; before Linux 3.17, of a pipe, which holds as much.
static long memory(const char *text, size_t n, bool cloexec)
{
	long fd = SYS(memfd_create, "proc", (cloexec ? MFD_CLOEXEC : 0) | MFD_ALLOW_SEALING);
	if (fd >= 0) {
		sys_write(fd, text, n);
		SYS(lseek, fd, 0, 0);
		sys_fcntl(fd, F_ADD_SEALS, SEALS);
		return fd;
	}
	int ends[2];
	long r = SYS(pipe2, ends, cloexec ? O_CLOEXEC : 0);
	if (r < 0)
		return r;
	sys_write(ends[1], text, n);
	sys_close(ends[1]);
	return ends[0];
}

enum { NOT_OURS = -4096 };

// open_ours gives a descriptor or an errno below zero; NOT_OURS if the file is not one of ours.
static long open_ours(const char *path, bool cloexec)
{
	char text[TEXT + 3 * FIELD];
	char *end = path && after(path, "/proc/") ? content(path, text) : NULL;
	if (!end)
		return NOT_OURS;
	return end == text ? -ENOENT : memory(text, end - text, cloexec);
}

static bool reading(int flags) { return !(flags & (O_ACCMODE | O_CREAT | O_PATH)); }

#define OPEN(name, call, ...) \
	unsigned mode = 0; \
	if (flags & (O_CREAT | TMPFILE)) { \
		va_list args; \
		va_start(args, flags); \
		mode = va_arg(args, unsigned); \
		va_end(args); \
	} \
	long fd = reading(flags) ? open_ours(path, flags & O_CLOEXEC) : NOT_OURS; \
	if (fd != NOT_OURS) \
		return result(fd); \
	static int (*other) call; \
	if (!other) \
		other = (int (*) call)next(name); \
	if (other) \
		return other(__VA_ARGS__, flags, mode)

#define OPEN_NAME(name) \
	EXPORT int name(const char *path, int flags, ...) \
	{ \
		OPEN(#name, (const char *, int, ...), path); \
		return result(sys_openat(AT_FDCWD, path, flags, mode)); \
	}

#define OPENAT_NAME(name) \
	EXPORT int name(int dir, const char *path, int flags, ...) \
	{ \
		OPEN(#name, (int, const char *, int, ...), dir, path); \
		return result(sys_openat(dir, path, flags, mode)); \
	}

OPEN_NAME(open)
OPEN_NAME(open64)
OPENAT_NAME(openat)
OPENAT_NAME(openat64)

// The functions that _FORTIFY_SOURCE calls instead.
EXPORT int __open_2(const char *path, int flags) { return open(path, flags); }
EXPORT int __open64_2(const char *path, int flags) { return open64(path, flags); }
EXPORT int __openat_2(int dir, const char *path, int flags) { return openat(dir, path, flags); }
EXPORT int __openat64_2(int dir, const char *path, int flags) { return openat64(dir, path, flags); }

static bool has(const char *s, char c)
{
	while (*s && *s != c)
		s++;
	return *s;
}

#define FOPEN_NAME(name) \
	EXPORT void *name(const char *path, const char *mode) \
	{ \
		long fd = mode[0] == 'r' && !has(mode, '+') && &fdopen ? open_ours(path, has(mode, 'e')) : NOT_OURS; \
		if (fd != NOT_OURS) \
			return result(fd) < 0 ? NULL : fdopen((int)fd, mode); \
		static void *(*other)(const char *, const char *); \
		if (!other) \
			other = (void *(*)(const char *, const char *))next(#name); \
		if (!other) \
			other = (void *(*)(const char *, const char *))next("fopen"); \
		if (other) \
			return other(path, mode); \
		set_errno(ENOSYS); \
		return NULL; \
	}

FOPEN_NAME(fopen)
FOPEN_NAME(fopen64)
