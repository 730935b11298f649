// The bundle that the library lies in, as far as a hook has to know it.
#ifndef BUNDLE_H
#define BUNDLE_H

#include "text.h"

enum { DIR_MAX = 1024, IN_BUNDLE = DIR_MAX + PATH_MAX };

static char bundle_dir[DIR_MAX]; // "" where the library was not found in LD_PRELOAD

// remember copies the entry DIR/preload/.../library of LD_PRELOAD, which env has, and takes the
// directory from it; the library is named with its slash. An entry of DIR_MAX bytes or more is not
// found.
static void remember(char *const env[], const char *library, char *entry);

// The program's own environment, as its libc keeps it. To a constructor glibc hands it as the
// third argument; others have set environ by then.
static char **environment(void);
static char **first_environment(char **env);
static bool is_glibc(void);
static void set_errno(int errnum);
// result is what a libc function gives for r: -1 with errno set where r is an errno below zero.
static int result(long r);

// The bundle's binproxy.conf, its lines ended by NULs instead of newlines.
struct conf {
	char *end;
	char text[4096 + 1];
};
// load_conf gives an errno below zero where the file cannot be read. What is behind the first
// 4,096 bytes is cut: farms may be.
static long load_conf(struct conf *c);
// conf_value is what the last line with the key has, NULL where there is none.
static const char *conf_value(struct conf *c, const char *key);
// conf_next gives the value of the next line with the key behind from (NULL for the first), NULL
// at the end.
static char *conf_next(struct conf *c, const char *key, char *from);

#endif
