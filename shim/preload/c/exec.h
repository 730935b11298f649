#ifndef EXEC_H
#define EXEC_H

#include "bundle.h"

typedef int spawn_function(int *pid, const char *path, const void *actions, const void *attr, char *const argv[], char *const env[]);

// A call is the program's request: execve, or a posix_spawn.
struct call {
	char *const *argv;
	char *const *env;
	spawn_function *spawn; // libc's, NULL for execve
	int *pid;
	const void *actions, *attr;
};

// route finds the exec that must happen for path, and carries it out. It gives an errno below zero
// if the file cannot be run.
static long route(const struct call *c, const char *path);

// search routes file as found in the directories of PATH. With with_shell it does what execvp
// does: glibc makes the shell read a file that is neither ELF nor script.
static long search(const struct call *c, const char *file, bool with_shell);

// carry_out does the exec, with LD_PRELOAD put back. Without words the kernel execs the file; else
// words[0], an emulator, is executed for the guest's file. A dynamic emulator would obey LD_
// variables itself, so these go only to the guest.
static long carry_out(const struct call *c, const char *const words[], bool dynamic, const char *file, char *const argv[]);

static size_t count(char *const list[]);
// append writes the list and a NULL, and gives the NULL's place; append_arguments writes a vector
// without its first word.
static const char **append(const char **to, char *const list[]);
static const char **append_arguments(const char **to, char *const argv[]);

#endif
