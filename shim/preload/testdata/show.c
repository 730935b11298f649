// show stands for an emulator, or for any other program: it prints its arguments and, from its environment, FOO and what LD_ has, in
// this order (QEMU reverses the environment).
#include <stdio.h>
#include <string.h>

extern char **environ;

static void print(const char *prefix)
{
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, prefix, strlen(prefix)))
			printf("env %s\n", *e);
}

int main(int argc, char **argv)
{
	printf("argv");
	for (int i = 0; i < argc; i++)
		printf(" [%s]", argv[i]);
	printf("\n");
	print("FOO=");
	print("LD_");
	return 0;
}
