#include "resolve.h"

#include "abis.h"

char *keep(struct plan *p, const char *a, const char *b, const char *c)
{
	char *s = p->text;
	size_t n = length(a) + length(b) + length(c) + 1;
	if (n > (size_t)(p->texts + sizeof p->texts - s))
		return NULL;
	char *end = put_text(put_text(put_text(s, a), b), c);
	*end = 0;
	p->text = end + 1;
	return s;
}

// parse_script reads the #! line step by step as load_script of fs/binfmt_script.c does, and writes NULs into it. It gives 1 for a
// script, 0 for another file, else an errno below zero.
static bool blank(char c) { return c == ' ' || c == '\t'; }

static char *non_blank(char *from, char *to)
{
	for (; from <= to; from++)
		if (!blank(*from))
			return from;
	return NULL;
}

static char *terminator(char *from, char *to)
{
	for (; from <= to; from++)
		if (blank(*from) || !*from)
			return from;
	return NULL;
}

static int parse_script(char *head, const char **interpreter, const char **argument)
{
	char *last = head + HEAD - 1, *end, *name, *separator;
	*argument = NULL;
	if (head[0] != '#' || head[1] != '!')
		return 0;
	for (end = head; end <= last && *end && *end != '\n';)
		end++;
	if (end > last || !*end) {
		// No newline: fine if the interpreter surely ends before the buffer does.
		name = non_blank(head + 2, last);
		if (!name || !terminator(name, last))
			return -ENOEXEC;
		end = last;
	}
	while (blank(end[-1]))
		end--;
	name = non_blank(head + 2, end);
	if (!name || name == end)
		return -ENOEXEC;
	separator = terminator(name, end);
	*end = 0;
	if (separator && separator < end && *separator) {
		*argument = non_blank(separator, end);
		*separator = 0;
	}
	*interpreter = name;
	return 1;
}

static uint32_t number(const unsigned char *s, int size, bool big)
{
	uint32_t n = 0;
	for (int i = 0; i < size; i++)
		n = n << 8 | s[big ? i : size - 1 - i];
	return n;
}

// classify finds the row of abis for an ELF program; -1 for anything else.
static int classify(const unsigned char *head, long size)
{
	if (size < 52 || !after((const char *)head, "\x7f" "ELF") || head[5] < 1 || head[5] > 2)
		return -1;
	int bits = head[4] == 1 ? 32 : head[4] == 2 ? 64 : 0;
	bool big = head[5] == 2;
	if (bits == 0 || (bits == 64 && size < 64))
		return -1;
	uint32_t type = number(head + 16, 2, big), machine = number(head + 18, 2, big), flags = number(head + (bits == 32 ? 36 : 48), 4, big);
	if (type != 2 && type != 3)
		return -1;
	for (size_t i = 0; i < sizeof abis / sizeof *abis; i++) {
		const struct abi *a = &abis[i];
		if (a->machine == machine && a->bits == bits && a->big == big && (flags & a->mask) == a->flags)
			return (int)i;
	}
	return -1;
}

// executable gives 0 where the process may execute the file by its effective ids, which access(2) does not look at.
static long executable(const char *path, uint32_t mode)
{
	long uid = SYS(geteuid, 0, 0, 0, 0, 0), gid = SYS(getegid, 0, 0, 0, 0, 0);
	if (uid == SYS(getuid, 0, 0, 0, 0, 0) && gid == SYS(getgid, 0, 0, 0, 0, 0))
		return SYS(faccessat, AT_FDCWD, path, X_OK, 0, 0);
	long r = SYS(faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS, 0);
	if (r != -ENOSYS && r != -EPERM)
		return r;
	// Before Linux 5.8, and where a filter refuses it: whether anybody may. An emulator that may not read it says so.
	return mode & 0111 ? 0 : -EACCES;
}

static const char *in_farm(const char *path, const char *farm)
{
	const char *rest = after(path, farm);
	return rest && *rest == '/' && !contains(rest, "//") && !contains(rest, "/.") ? rest : NULL;
}

// real_path is what path means without the farm: what a farm's link stands for, and the file beside a link that is in its place. Other
// links to binproxy are left to it: it is a host-native program, and finds out by itself.
static const char *real_path(struct plan *p, const char *path)
{
	char self[PATH_MAX + 16], target[PATH_MAX];
	const char *farm = NULL, *in = after(path, bundle_dir);
	if (in && (in = in_farm(in, "/farm")))
		return in;
	while ((farm = conf_next(&p->conf, "farm", farm)))
		if ((in = in_farm(path, farm)))
			return in;
	*put_text(put_text(self, bundle_dir), "/binproxy") = 0;
	if (read_link(path, target, sizeof target) < 0 || !same(target, self))
		return path;
	const char *slash = last_slash(path), *base = slash ? slash + 1 : path;
	*put_text(target, path) = 0;
	target[base - path] = 0;
	const char *aside = keep(p, target, ".binproxy.", base);
	return aside && file_mode(aside, AT_SYMLINK_NOFOLLOW) >= 0 ? aside : path;
}

// open_file checks what execve checks before it reads the file, and reads its head. It never blocks: what is no regular file is
// refused before it is opened.
static long open_file(struct plan *p, const char **path, unsigned char *head)
{
	const char *real = real_path(p, *path);
	p->moved |= real != *path;
	*path = real;
	long mode = file_mode(real, 0);
	if (mode < 0)
		return mode;
	if ((mode & S_IFMT) != S_IFREG)
		return -EACCES;
	long r = executable(real, (uint32_t)mode);
	if (r < 0)
		return r;
	memset(head, 0, HEAD);
	return read_file(real, head, HEAD);
}

// follow follows #! lines to the ELF file that ends the chain.
static int follow(struct plan *p, const char *path, const char *name)
{
	for (int depth = 0;; depth++) {
		unsigned char *head = p->heads[depth];
		const char *interpreter, *argument;
		long size = open_file(p, &path, head);
		if (size < 0)
			return (int)-size;
		int script = parse_script((char *)head, &interpreter, &argument);
		if (script < 0)
			return -script;
		if (!script) {
			p->file = path;
			p->machine = classify(head, size);
			return 0;
		}
		if (!*interpreter)
			return EACCES; // the kernel opens the empty name, which is its working directory
		if (depth == MAX_SCRIPTS) {
			// The kernel opens the sixth interpreter before it counts.
			size = open_file(p, &interpreter, p->heads[depth + 1]);
			return size < 0 ? (int)-size : ELOOP;
		}
		p->prefix[p->start] = name ? name : path;
		name = NULL;
		if (argument)
			p->prefix[--p->start] = argument;
		p->prefix[--p->start] = interpreter;
		path = interpreter;
	}
}

static bool has_word(const char *words, const char *word)
{
	const char *rest = after(words, word);
	return rest && (*rest == ' ' || !*rest);
}

// emulator finds the line "emulator QEMU PATH [LOADER]" for the program's ABI; NULL where it is not the emulators' to run.
static const char *emulator(struct plan *p)
{
	if (p->machine < 0 || !*abis[p->machine].qemu)
		return NULL;
	const char *value = NULL, *qemu = abis[p->machine].qemu;
	while ((value = conf_next(&p->conf, "emulator", value))) {
		if (!has_word(value, qemu))
			continue;
		char path[PATH_MAX + 16];
		unsigned char head[HEAD];
		*put_text(put_text(path, bundle_dir), "/binproxy") = 0;
		// The host is what binproxy is a program of; its own programs need no emulator.
		if (classify(head, read_file(path, head, HEAD)) == p->machine)
			return NULL;
		return value + length(qemu) + 1;
	}
	return NULL;
}

// word copies the next word of a line into the plan, as a path in the bundle unless it is absolute; NULL where there is none.
static const char *word(struct plan *p, const char **line)
{
	char s[PATH_MAX], *to = s;
	while (**line == ' ')
		++*line;
	while (**line && **line != ' ' && to < s + sizeof s - 1)
		*to++ = *(*line)++;
	*to = 0;
	if (!*s)
		return NULL;
	return *s == '/' ? keep(p, s, "", "") : keep(p, bundle_dir, "/", s);
}

static void add(struct plan *p, const char *s) { p->words[p->count++] = s; }

// emulate writes the emulator's own argument vector. It gives false where the plan's texts are full.
static bool emulate(struct plan *p, const char *line, char *const env[])
{
	const char *path = word(p, &line), *loader = word(p, &line), *file = p->file;
	p->program = path;
	if (!path)
		return false;
	if (loader) {
		char *dir = keep(p, loader, "", "");
		if (!dir)
			return false;
		*(char *)last_slash(dir) = 0;
		p->dynamic = true;
		p->program = loader;
		add(p, loader), add(p, "--library-path"), add(p, dir), add(p, "--argv0"), add(p, path);
	}
	add(p, path), add(p, "-0"), add(p, p->prefix[p->start++]);
	const char *release = variable(env, "BINPROXY_RELEASE");
	if (!release || !*release)
		release = conf_value(&p->conf, "release");
	if (release && *release)
		add(p, "-r"), add(p, release);
	p->options = p->count;
	if (file[0] == '-' && !(file = keep(p, "./", file, "")))
		return false;
	add(p, file);
	return true;
}

int resolve(struct plan *p, const char *path, const char *name, const char *argv0, char *const env[])
{
	p->guest = p->moved = p->dynamic = false;
	p->count = p->options = 0;
	p->text = p->texts;
	p->start = PREFIX - 1;
	p->prefix[p->start] = argv0;
	long unread = load_conf(&p->conf);
	if (unread < 0)
		p->conf.end = p->conf.text;
	int errnum = follow(p, path, name);
	if (errnum)
		return errnum;
	p->program = p->file;
	const char *line = emulator(p);
	if (line && !emulate(p, line, env))
		return ENAMETOOLONG;
	p->guest = line != NULL;
	p->lost = unread < 0 && p->machine >= 0;
	while (p->start < PREFIX)
		add(p, p->prefix[p->start++]);
	return 0;
}
