// Which exec must happen: emu/resolve and shim/proxy once more, in C. shim/preload/testdata/cases.txtar tests both.
#ifndef RESOLVE_H
#define RESOLVE_H

#include "bundle.h"

enum {
	HEAD = 256,      // how much of a file the kernel looks at (BINPRM_BUF_SIZE)
	MAX_SCRIPTS = 5, // how deep #! may nest
	PREFIX = 2 * MAX_SCRIPTS + 2,
	ARGV = PREFIX + 11, // loader --library-path DIR --argv0 PATH, PATH -0 ARGV0 -r RELEASE FILE
};

// A plan is the exec that must happen: argv is words[0..count] and then the caller's argv[1:]. The texts that it points to are its
// own, or the caller's.
struct plan {
	bool guest;      // program is an emulator or its loader
	bool moved;      // a host-native program that is not to be found by the caller's path: a farm's link stood in its place
	bool lost;       // a program that may be a guest's; there is no bundle here to say
	bool dynamic;    // an emulator that would obey LD_ variables itself
	int options;     // where in words further options of the emulator may be put in
	const char *program;
	const char *words[ARGV];
	int count;

	const char *prefix[PREFIX]; // the guest's argv, filled from the end
	int start;
	int machine; // of the ELF file that ends the chain: a row of abis, -1 for an unknown one
	const char *file;
	char *text;
	struct conf conf;
	unsigned char heads[MAX_SCRIPTS + 2][HEAD];
	char texts[2 * PATH_MAX];
};

// resolve makes the plan for execve of path, or gives the errno that it must fail with. name is what a script is called for its
// interpreter, NULL for path itself; env is the new program's.
int resolve(struct plan *p, const char *path, const char *name, const char *argv0, char *const env[]);

// keep copies a text into the plan; NULL where it is full.
char *keep(struct plan *p, const char *a, const char *b, const char *c);

#endif
