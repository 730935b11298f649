// The bundle that contains the library, as far as a hook has to know it.
#ifndef BUNDLE_H
#define BUNDLE_H

#include "text.h"

enum { DIR_MAX = 1024, IN_BUNDLE = DIR_MAX + PATH_MAX };

static char bundle_dir[DIR_MAX]; // "" where the library was not found in LD_PRELOAD

// remember copies the entry DIR/preload/.../library of LD_PRELOAD, which env contains, and takes
// the directory from it. library begins with a slash. An entry of DIR_MAX bytes or more is not
// found.
static void remember(char *const env[], const char *library, char *entry);

// The program's own environment, as its libc keeps it. glibc passes it to a constructor as the
// third argument; other libcs have set environ by then.
static char **environment(void);
static char **first_environment(char **env);
static bool is_glibc(void);
static void set_errno(int errnum);
// result is what a libc function returns for r: -1 with errno set if r is an errno below zero.
static int result(long r);

// The bundle's binproxy.conf; its lines end in NULs instead of newlines.
struct conf {
	char *end;
	char text[4096 + 1];
};
// load_conf gives an errno below zero if the file cannot be read. It drops everything after the
// first 4,096 bytes, which may be farms.
static long load_conf(struct conf *c);
// conf_value is the value of the last line with the key, NULL if there is none.
static const char *conf_value(struct conf *c, const char *key);
// conf_next gives the value of the next line with the key after from (NULL for the first), NULL at
// the end.
static char *conf_next(struct conf *c, const char *key, char *from);

#endif
