// The few string functions that the hooks need.
#ifndef TEXT_H
#define TEXT_H

#include "sys.h"

static size_t length(const char *s);
static bool same(const char *a, const char *b);
// after is the text after prefix in s, NULL if s does not start with prefix.
static const char *after(const char *s, const char *prefix);
// find is the first place of part in s, NULL if there is none.
static const char *find(const char *s, const char *part);
// last_slash is the last slash in s, NULL if there is none.
static char *last_slash(const char *s);
// put writes the text, and a NUL, and gives the NUL's place; put_number a decimal number.
static char *put(char *to, const char *text);
static char *put_number(char *to, unsigned long n);
// variable is the value of the variable in the environment, NULL if it is not set; the name ends
// with =.
static const char *variable(char *const env[], const char *name);

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

#endif
