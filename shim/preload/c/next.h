#ifndef NEXT_H
#define NEXT_H

#include "text.h"

// next is the function of that name in the objects after this library: the one that the program
// would have called without it. NULL if there is none. (Before glibc 2.34 dlsym is in a library of
// its own, which may be missing.)
static void *next(const char *name);

#endif
