// show stands in for an emulator: it prints how it was called.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

int main(int argc, char **argv)
{
	printf("argv");
	for (int i = 0; i < argc; i++)
		printf(" [%s]", argv[i]);
	printf("\n");
	for (char **e = environ; *e; e++)
		if (getenv("SHOW_ALL") || !strncmp(*e, "LD_", 3) || !strncmp(*e, "FOO=", 4))
			printf("env %s\n", *e);
	return getenv("STATUS") ? atoi(getenv("STATUS")) : 0;
}
