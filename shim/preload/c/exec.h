#ifndef EXEC_H
#define EXEC_H

#include "bundle.h"

typedef int spawn_function(int *pid, const char *path, const void *actions, const void *attr, char *const argv[], char *const env[]);

// A call is what the program asked for: execve, or a posix_spawn.
struct call {
	char *const *argv;
	char *const *env;
	spawn_function *spawn; // libc's, NULL for execve
	int *pid;
	const void *actions, *attr;
};

// route finds the exec that must happen for path, and has it carried out; what cannot be run is an
// errno below zero.
static long route(const struct call *c, const char *path);

// search routes file as found in the directories of PATH; with_shell as execvp does, for which
// glibc has the shell read a file that is neither ELF nor script.
static long search(const struct call *c, const char *file, bool with_shell);

// carry_out does the exec, with LD_PRELOAD put back. Without words it is that of the file by the
// kernel; else that of words[0], an emulator, for the guest's file. A dynamic emulator would obey
// LD_ variables itself: they go to the guest alone.
static long carry_out(const struct call *c, const char *const words[], bool dynamic, const char *file, char *const argv[]);

static size_t count(char *const list[]);
// append writes the list and a NULL, and gives the NULL's place; append_arguments what is behind a
// vector's first word.
static const char **append(const char **to, char *const list[]);
static const char **append_arguments(const char **to, char *const argv[]);

#endif
