#include <stdio.h>
#include <sys/utsname.h>

int main(void)
{
	struct utsname name;
	if (uname(&name))
		return 1;
	return printf("hello from %s, %d bits\n", name.machine, (int)sizeof(long) * 8) < 0;
}
