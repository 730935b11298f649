#ifndef NEXT_H
#define NEXT_H

#include "text.h"

// next is the function of that name in the objects that come after this library: the one that the
// program would have called without it. NULL where there is none. (dlsym is in a library of its
// own before glibc 2.34, and need not be there.)
static void *next(const char *name);

#endif
