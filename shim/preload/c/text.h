// The few string functions that the hooks need.
#ifndef TEXT_H
#define TEXT_H

#include "sys.h"

size_t length(const char *s);
bool same(const char *a, const char *b);
// after is what follows prefix in s, NULL where s does not start with it.
const char *after(const char *s, const char *prefix);
bool contains(const char *s, const char *part);
// last_slash is the last slash in s, NULL where there is none.
const char *last_slash(const char *s);
// put_text copies s without its NUL, and gives the place behind it.
char *put_text(char *to, const char *s);
char *put_number(char *to, unsigned long n);
// variable is the value of the variable in the environment, NULL where it is not set.
const char *variable(char *const env[], const char *name);

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

#endif
