// Which exec must happen: emu/resolve and shim/proxy in C. shim/preload/testdata/cases.tsv tests
// both.
#include "exec.h"

enum { EM_MIPS = 8, EF_MIPS_ABI2 = 0x20 };

enum {
	HEAD = 256,      // how much of a file the kernel looks at (BINPRM_BUF_SIZE)
	MAX_SCRIPTS = 5, // how deep #! may nest
};

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

// parse_script reads the #! line step by step as load_script of fs/binfmt_script.c does, and
// writes NULs into it. It gives 1 for a script, 0 for another file, else an errno below zero.
static int parse_script(char *head, const char **interpreter, const char **argument)
{
	char *last = head + HEAD - 1, *end = head, *name, *separator;
	*argument = NULL;
	if (!after(head, "#!"))
		return 0;
	while (end <= last && *end && *end != '\n')
		end++;
	if (end > last || !*end) {
		// There is no newline: fine if the interpreter surely ends before the buffer does.
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
	if (separator && *separator) {
		*argument = non_blank(separator, end);
		*separator = 0;
	}
	*interpreter = name;
	return 1;
}

// abi_key tells ABIs apart by the ELF header of a program: class (with MIPS's bit for N32), data,
// the two bytes of the machine; 0 for other files. binproxy.conf has it in letters
// (arch.HeaderKey).
static uint32_t abi_key(const unsigned char *head, long size)
{
	bool big = head[5] == 2, wide = head[4] != 1;
	if (!after((const char *)head, "\x7f" "ELF") || size < (wide ? 64 : 52) || (head[16 + big] & ~1) != 2 || head[17 - big])
		return 0;
	uint32_t key = (uint32_t)head[4] << 24 | head[5] << 16 | head[18] << 8 | head[19];
	if (!wide && head[18 + big] == EM_MIPS)
		key |= (uint32_t)(head[big ? 39 : 36] & EF_MIPS_ABI2) << 24;
	return key;
}

// executable gives 0 if the process may execute the file by its effective ids; before Linux 5.8,
// or if a filter refuses that call, by its real ones.
static long executable(const char *path)
{
	long r = SYS(faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS);
	return r == -ENOSYS || r == -EPERM ? SYS(faccessat, AT_FDCWD, path, X_OK) : r;
}

static const char *in_farm(const char *path, const char *farm)
{
	const char *rest = after(path, farm);
	return rest && *rest == '/' && !find(rest, "//") && !find(rest, "/.") ? rest : NULL;
}

// real_path is the meaning of path without the farm: the file that a farm's link stands for, or
// the file beside a link in its place. Other links to binproxy stay as they are: binproxy is a
// host-native program, and finds the file itself.
static const char *real_path(struct conf *conf, const char *path, char *aside)
{
	char ours[IN_BUNDLE], link[PATH_MAX];
	const char *in;
	char *end = put(ours, bundle_dir);
	put(end, "/farm");
	for (char *line = NULL, *farm = ours; farm; farm = line = conf_next(conf, "farm", line))
		if ((in = in_farm(path, farm)))
			return in;
	put(end, "/binproxy");
	if (read_link(path, link, sizeof link) < 0 || !same(link, ours))
		return path;
	put(aside, path);
	char *slash = last_slash(aside), *base = slash ? slash + 1 : aside;
	put(put(base, ".binproxy."), path + (base - aside));
	return file_mode(aside, AT_SYMLINK_NOFOLLOW) >= 0 ? aside : path;
}

// open_file checks what execve checks before it reads the file, and reads its head. It never
// blocks: it refuses a file that is not regular before opening it.
static long open_file(const char *path, unsigned char *head)
{
	long mode = file_mode(path, 0);
	if (mode < 0)
		return mode;
	long r = (mode & S_IFMT) == S_IFREG ? executable(path) : -EACCES;
	if (r < 0)
		return r;
	memset(head, 0, HEAD);
	return read_file(path, head, HEAD);
}

// emulator finds the program's line "elf KEY PATH [LOADER]", and gives it from PATH on; NULL if no
// emulator runs the program.
static char *emulator(struct conf *conf, uint32_t key)
{
	char *value = NULL;
	while (key && (value = conf_next(conf, "elf", value))) {
		uint32_t k = 0;
		for (; *value > ' '; value++)
			k = k * 16 + *value - 'a';
		if (*value && k == key)
			return value + 1;
	}
	return NULL;
}

static void in_bundle(char *to, const char *path)
{
	if (*path != '/')
		to = put(put(to, bundle_dir), "/");
	put(to, path);
}

static void say(const char *path)
{
	char line[2 * PATH_MAX], *to = put(put(line, "binproxy: preload: "), path);
	to = put(put(to, ": its emulator is not in "), bundle_dir);
	to = put(to, "; is this a chroot? The bundle has to be in it\n");
	sys_write(2, line, to - line);
}

// emulate makes the emulator run the guest's file.
static long emulate(const struct call *c, struct conf *conf, char *line, const char *file, char *const argv[])
{
	char path[IN_BUNDLE], loader[IN_BUNDLE], dir[IN_BUNDLE], relative[PATH_MAX + 2];
	const char *words[12], **word = words, *release = variable(c->env, "BINPROXY_RELEASE=");
	char *space = line;
	while (*space && *space != ' ')
		space++;
	bool dynamic = *space;
	*space = 0;
	in_bundle(path, line);
	if (dynamic) {
		in_bundle(loader, space + 1);
		in_bundle(dir, space + 1);
		*last_slash(dir) = 0;
		*word++ = loader;
		*word++ = "--library-path";
		*word++ = dir;
		*word++ = "--argv0";
		*word++ = path;
	}
	*word++ = path;
	*word++ = "-0";
	*word++ = argv && argv[0] ? argv[0] : "";
	if (!release || !*release)
		release = conf_value(conf, "release");
	if (release && *release) {
		*word++ = "-r";
		*word++ = release;
	}
	*word = NULL;
	if (*file == '-') {
		put(put(relative, "./"), file);
		file = relative;
	}
	long r = carry_out(c, words, dynamic, file, argv);
	if (r == -ENOENT && file_mode(words[0], 0) == -ENOENT)
		say(file);
	return r;
}

// A request is an exec in progress: the program's request, and what was found out.
struct request {
	const struct call *call;
	const char *path;
	struct conf conf;
	bool lost;  // there is no bundle here to say whether a program is a guest's
	bool moved; // a farm's link stood for a file
};

// follow follows #! lines to the ELF file that ends the chain; argv is for the file at path.
static long follow(struct request *q, const char *path, char *const argv[], int depth)
{
	char aside[PATH_MAX + 16], head[HEAD];
	const char *interpreter, *argument, *file = real_path(&q->conf, path, aside);
	long size = open_file(file, (unsigned char *)head);
	q->moved |= file != path;
	if (size < 0)
		return size;
	if (depth > MAX_SCRIPTS)
		return -ELOOP; // the kernel opens the sixth interpreter before it counts
	int script = parse_script(head, &interpreter, &argument);
	if (script < 0)
		return script;
	if (script) {
		if (!*interpreter)
			return -EACCES; // the kernel opens the empty name, which is its working directory
		const char *next[count(argv) + 4], **end = next;
		*end++ = interpreter;
		if (argument)
			*end++ = argument;
		*end++ = file;
		append_arguments(end, argv);
		return follow(q, interpreter, (char *const *)next, depth + 1);
	}
	uint32_t key = abi_key((unsigned char *)head, size);
	char *line = emulator(&q->conf, key);
	if (line)
		return emulate(q->call, &q->conf, line, file, argv);
	// The kernel handles it, with the original path and arguments, unless these are a farm's.
	long r = carry_out(q->call, NULL, false, q->moved ? file : q->path, q->moved ? argv : q->call->argv);
	if (r == -ENOEXEC && q->lost && key)
		say(file);
	return r;
}

long route(const struct call *c, const char *path)
{
	struct request q;
	char exe[PATH_MAX];
	const char *rest;
	if (!path)
		return -EFAULT;
	q.call = c;
	q.path = path;
	q.moved = false;
	// The link to the running program: the kernel would take the emulator for it.
	if ((rest = after(path, "/proc/")) && (rest = find(rest, "/")) && same(rest, "/exe") && read_link(path, exe, sizeof exe) > 0)
		q.path = exe;
	q.lost = load_conf(&q.conf) < 0;
	return follow(&q, q.path, c->argv, 0);
}
