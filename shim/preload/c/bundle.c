#include "bundle.h"

extern WEAK const char *gnu_get_libc_version(void);
extern WEAK int *__errno_location(void);
extern WEAK char **environ;

bool is_glibc(void) { return &gnu_get_libc_version; }

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

char **environment(void) { return &environ ? environ : NULL; }

char **first_environment(char **env) { return is_glibc() ? env : environment(); }

void remember(char *const env[], const char *library, char *entry)
{
	const char *s = variable(env, "LD_PRELOAD="), *start = s, *preload = NULL, *end;
	for (; s && *s; s++) {
		if (*s == ':' || *s == ' ') {
			start = s + 1;
			preload = NULL;
		}
		if (after(s, "/preload/"))
			preload = s;
		if (preload && (end = after(s, library)) && (!*end || *end == ':' || *end == ' ') && end - start < DIR_MAX) {
			memcpy(bundle_dir, start, preload - start);
			memcpy(entry, start, end - start);
			return;
		}
	}
}

long load_conf(struct conf *c)
{
	char path[IN_BUNDLE];
	c->end = c->text;
	put(put(path, bundle_dir), "/binproxy.conf");
	long n = read_file(path, c->text, sizeof c->text - 1);
	if (n < 0)
		return n;
	c->end += n;
	*c->end = 0;
	for (char *s = c->text; s < c->end; s++)
		if (*s == '\n')
			*s = 0;
	return 0;
}

char *conf_next(struct conf *c, const char *key, char *from)
{
	for (char *line = from ? from + length(from) + 1 : c->text; line < c->end; line += length(line) + 1) {
		char *value = (char *)after(line, key);
		if (value && *value == ' ')
			return value + 1;
	}
	return NULL;
}

const char *conf_value(struct conf *c, const char *key)
{
	char *last = NULL, *value = NULL;
	while ((value = conf_next(c, key, value)))
		last = value;
	return last;
}
