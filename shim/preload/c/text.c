#include "text.h"

// The compiler calls these two by itself.
__attribute__((used)) void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

__attribute__((used)) void *memset(void *to, int c, size_t n)
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

const char *find(const char *s, const char *part)
{
	for (; *s; s++)
		if (after(s, part))
			return s;
	return NULL;
}

char *last_slash(const char *s)
{
	char *slash = NULL;
	for (; *s; s++)
		if (*s == '/')
			slash = (char *)s;
	return slash;
}

char *put(char *to, const char *text)
{
	while ((*to = *text++))
		to++;
	return to;
}

char *put_number(char *to, unsigned long n)
{
	unsigned long tens = 0; // by hand: ARM has no division, and would call a library's
	for (; n > 9; n -= 10) {
		tens++;
		__asm__("" : "+r"(tens)); // lest the compiler sees a division in this
	}
	if (tens)
		to = put_number(to, tens);
	*to++ = (char)('0' + n);
	*to = 0;
	return to;
}

const char *variable(char *const env[], const char *name)
{
	const char *value = NULL;
	for (; env && *env && !value; env++)
		value = after(*env, name);
	return value;
}
