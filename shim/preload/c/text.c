#include "text.h"

// The compiler calls these two by itself.
void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = (char)c;
	return to;
}

size_t length(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

const char *after(const char *s, const char *prefix)
{
	for (; *prefix; s++, prefix++)
		if (*s != *prefix)
			return NULL;
	return s;
}

bool same(const char *a, const char *b)
{
	const char *rest = after(a, b);
	return rest && !*rest;
}

bool contains(const char *s, const char *part)
{
	for (; *s; s++)
		if (after(s, part))
			return true;
	return false;
}

const char *last_slash(const char *s)
{
	const char *slash = NULL;
	for (; *s; s++)
		if (*s == '/')
			slash = s;
	return slash;
}

char *put_text(char *to, const char *s)
{
	while (*s)
		*to++ = *s++;
	return to;
}

char *put_number(char *to, unsigned long n)
{
	if (n > 9)
		to = put_number(to, n / 10);
	*to++ = (char)('0' + n % 10);
	return to;
}

const char *variable(char *const env[], const char *name)
{
	for (; env && *env; env++) {
		const char *value = after(*env, name);
		if (value && *value == '=')
			return value + 1;
	}
	return NULL;
}
