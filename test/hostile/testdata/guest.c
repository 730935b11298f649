// guest says that it runs.
#include <stdio.h>

int main(void) {
	puts("guest");
	return 0;
}
