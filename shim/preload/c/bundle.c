#include "bundle.h"

char bundle_dir[PATH_MAX];
const char *own[2];

static char entries[2 * PATH_MAX];

extern WEAK int *__errno_location(void);
extern WEAK char **environ;

void set_errno(int errnum)
{
	if (__errno_location)
		*__errno_location() = errnum;
}

int result(long r)
{
	if (r >= 0)
		return (int)r;
	set_errno((int)-r);
	return -1;
}

char **environment(void)
{
	return &environ ? environ : NULL;
}

static bool separator(char c) { return c == ':' || c == ' '; }

// find_bundle takes the directory from the entry DIR/preload/.../library.
static bool find_bundle(const char *entry, size_t n, const char *library)
{
	size_t lib = length(library);
	if (n < lib + 1 || n >= PATH_MAX || entry[n - lib - 1] != '/' || !after(entry + n - lib, library))
		return false;
	for (size_t i = n - lib - 1; i > 0; i--) {
		if (!after(entry + i, "/preload/"))
			continue;
		memcpy(bundle_dir, entry, i);
		bundle_dir[i] = 0;
		return true;
	}
	return false;
}

static size_t entry_length(const char *s)
{
	size_t n = 0;
	while (s[n] && !separator(s[n]))
		n++;
	return n;
}

void remember(char *const env[], const char *library)
{
	const char *preload = variable(env, "LD_PRELOAD");
	if (!preload)
		return;
	for (const char *s = preload; *s; s += *s ? 1 : 0) {
		size_t n = entry_length(s);
		if (find_bundle(s, n, library))
			break;
		s += n;
	}
	if (!bundle_dir[0])
		return;
	char *to = entries;
	size_t count = 0;
	for (const char *s = preload; *s && count < 2; s += *s ? 1 : 0) {
		size_t n = entry_length(s);
		const char *in = after(s, bundle_dir);
		if (in && after(in, "/preload/") && to + n < entries + sizeof entries) {
			own[count++] = to;
			memcpy(to, s, n);
			to += n;
			*to++ = 0;
		}
		s += n;
	}
}

long load_conf(struct conf *c)
{
	char path[PATH_MAX + 16];
	*put_text(put_text(path, bundle_dir), "/binproxy.conf") = 0;
	long n = read_file(path, c->text, sizeof c->text - 1);
	if (n < 0)
		return n;
	for (long i = 0; i < n; i++)
		if (c->text[i] == '\n')
			c->text[i] = 0;
	c->text[n] = 0;
	c->end = c->text + n;
	return 0;
}

const char *conf_next(const struct conf *c, const char *key, const char *from)
{
	for (const char *line = from ? from + length(from) + 1 : c->text; line < c->end; line += length(line) + 1) {
		const char *value = after(line, key);
		if (value && *value == ' ')
			return value + 1;
	}
	return NULL;
}

const char *conf_value(const struct conf *c, const char *key)
{
	const char *last = NULL, *value = NULL;
	while ((value = conf_next(c, key, value)))
		last = value;
	return last;
}
