// The bundle that the library lies in, as far as a hook has to know it.
#ifndef BUNDLE_H
#define BUNDLE_H

#include "text.h"

// What LD_PRELOAD had of the bundle's when the program started; it is kept, as the program may change its environment.
extern char bundle_dir[PATH_MAX]; // "" where the library was not found in LD_PRELOAD
extern const char *own[2];        // the entries that lead into the bundle, up to the first NULL

// remember takes both from the environment; library is the file's name. Called by the constructor.
void remember(char *const env[], const char *library);

// The program's own environment, as its libc keeps it.
char **environment(void);
void set_errno(int errnum);
// result is what a libc function gives for r: -1 with errno set where r is an errno below zero.
int result(long r);

// The bundle's binproxy.conf, its lines ended by NULs instead of newlines.
struct conf {
	const char *end;
	char text[4096 + 1];
};
// load_conf gives an errno below zero where the file cannot be read. What is behind the first 4,096 bytes is cut: farms may be.
long load_conf(struct conf *c);
// conf_value is what the last line with the key has, NULL where there is none.
const char *conf_value(const struct conf *c, const char *key);
// conf_next gives the value of the next line with the key behind from (NULL for the first), NULL at the end.
const char *conf_next(const struct conf *c, const char *key, const char *from);

#endif
