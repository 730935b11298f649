#ifndef EXEC_H
#define EXEC_H

#include "resolve.h"

// deliver carries out an exec: execve itself, or a posix_spawn of the program's libc. program is NULL where the kernel is to be asked
// for the very file that the caller named. What it gives is what route gives.
typedef long deliver(void *context, const char *program, char *const argv[], char *const env[]);

// route finds the exec that must happen for execve of path, and has it carried out; what cannot be run is an errno below zero. name is
// what a script is called for its interpreter, NULL for path itself.
long route(const char *path, const char *name, char *const argv[], char *const env[], deliver *out, void *context);

// search tries file in the directories of PATH as execvp does, until try carries one out.
typedef long attempt(void *context, const char *path);
long search(const char *file, attempt *try, void *context);


EXPORT int execve(const char *path, char *const argv[], char *const env[]);

#endif
