// exits is a guest whose status tells which one it is, and whether it is root.
#include <unistd.h>

int main(void) { return geteuid() == 0 ? 78 : STATUS; }
